"""``fastbg worker``: runs Taskiq's worker, with the recorder, for the tasks that a server has queued.

Taskiq's manager starts the worker processes, and restarts a process that has died. After SIGTERM or Ctrl-C the running
tasks finish. The broker delivers the other tasks to another worker.
"""

import asyncio
import dataclasses
import functools
import inspect
import logging
import multiprocessing
import multiprocessing.connection
import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from fastbg.errors import FastbgError
from fastbg.output import report_error
from fastbg.server.logs import SafeFormatter
from fastbg.server.parent import end_with
from fastbg.server.settings import ServerSettings
from fastbg.services.broker import address_file, check_queue_extra, known_address, without_password
from fastbg.text import escape_control

if TYPE_CHECKING:
    from taskiq import AsyncBroker
    from taskiq.cli.worker.args import WorkerArgs

T = TypeVar("T")
THREADS = 10  # tasks in parallel per worker process


def work(settings: ServerSettings, modules: Sequence[str], broker: str | None, *, workers: int, threads: int) -> int:
    """Run tasks until a signal arrives, finish the running tasks, and return 0. Raises `FastbgError`.

    ``settings.app``: "module:attribute" of Taskiq's broker. ``modules``: modules with more tasks. ``broker``: its
    addresses; None is the embedded broker of the data folder. ``workers``: processes. ``threads``: tasks in parallel
    per process.
    """
    check_queue_extra()
    address = broker or known_address(settings.directory)
    if address is None:
        raise FastbgError(
            "the address of the broker is unknown",
            where=str(address_file(settings.directory)),
            remedy="start `fastbg serve --engine queue` with the same --dir, or give the address with --broker",
        )
    os.environ |= settings.environment() | {"FASTBG_BROKER": address}
    settings.make_folder()
    _check(settings)
    from taskiq.acks import AcknowledgeType
    from taskiq.cli.worker.args import WorkerArgs
    from taskiq.cli.worker.process_manager import ProcessManager

    _configure_logging()
    arguments = WorkerArgs(
        broker=settings.app,
        modules=list(modules),
        app_dir=str(settings.app_dir),
        workers=workers,
        # The broker would deliver a task again while it waits for a thread: take no more tasks than threads.
        max_threadpool_threads=threads,
        max_async_tasks=threads,
        ack_type=AcknowledgeType.WHEN_SAVED,  # the journal then already contains the end of the task
        configure_logging=False,
        receiver="fastbg.services.receiver:Receiver",
    )
    sys.stdout.write(
        escape_control(f"fastbg worker runs the tasks of {settings.app} from {without_password(address)}") + "\n"
    )
    sys.stdout.flush()
    return ProcessManager(arguments, worker_function=run_worker).start() or 0


def _configure_logging() -> None:
    """Write Taskiq's log to standard error. Worker processes call this too: not all are forks of the manager."""
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter("[%(asctime)s][%(name)s][%(levelname)-7s][%(processName)s] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in ("nats.aio.client", "taskiq.worker"):
        logging.getLogger(name).addFilter(shorten)


def shorten(record: logging.LogRecord) -> bool:
    """Replace the traceback of an error of the network by its message: of each attempt to connect, and at the end."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, OSError | UnicodeError):  # UnicodeError: not a valid host name
        message = record.getMessage()
        text = message if message.endswith(str(error)) else f"{message}: {error}"
        record.msg, record.args, record.exc_info = text, (), None
    return True


def _load(settings: ServerSettings) -> "AsyncBroker":
    """Import Taskiq's broker, ``settings.app``. Raises `FastbgError`."""
    from taskiq import AsyncBroker
    from taskiq.cli.utils import import_object

    remedy = "give Taskiq's broker, or a function that returns it, as module:attribute"
    try:
        found = import_object(settings.app, app_dir=str(settings.app_dir))
        found = found() if inspect.isfunction(found) else found
    except Exception as error:  # the user's module may raise any exception
        reason = f"{type(error).__name__}: {error}"
        raise FastbgError(f"the broker could not be loaded: {reason}", where=settings.app, remedy=remedy) from error
    if not isinstance(found, AsyncBroker):
        raise FastbgError(f"not a Taskiq broker, but {type(found).__name__}", where=settings.app, remedy=remedy)
    return found


def _check(settings: ServerSettings) -> None:
    """Raise `FastbgError` if the broker cannot be loaded.

    A separate process loads it. Workers that inherit a NATS client would share its inbox names, and receive messages
    for each other.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with receiver, sender:
        process = multiprocessing.Process(target=_send_load_error, args=(settings, sender))
        process.start()
        process.join()
        error = receiver.recv() if receiver.poll() else None
    if error is not None:
        raise FastbgError(error[0], where=error[1], remedy=error[2])


def _send_load_error(settings: ServerSettings, sender: "multiprocessing.connection.Connection") -> None:
    _end_with_manager()
    try:
        _load(settings)
    except FastbgError as error:
        sender.send((error.what, error.where, error.remedy))


def run_worker(args: "WorkerArgs") -> None:
    """Run Taskiq's worker loop with the recorder. The manager calls this in each worker process."""
    from taskiq.cli.worker.run import start_listen

    _end_with_manager()
    _configure_logging()
    settings = ServerSettings.from_environment()
    broker = _load(settings)
    broker.listen = functools.partial(cancellable, broker.listen)  # type: ignore[method-assign]  # see its docstring
    args = dataclasses.replace(args, broker=broker)  # type: ignore[arg-type]  # `start_listen` accepts a broker, too
    if settings.record:
        from fastbg.recorder import taskiq
        from fastbg.recorder.journal import Journal

        taskiq.install(Journal(settings.journal, settings.journal_size), settings.followed)
    start_listen(args)


async def cancellable(listen: "Callable[[], AsyncGenerator[T, None]]") -> "AsyncGenerator[T, None]":
    """Yield the messages of ``listen`` until the generator is cancelled.

    taskiq-nats sends a request per second, and continues to listen if a cancellation arrives at the end of such a
    request: the worker would then never exit. The broker delivers a message again that arrives at this moment.
    """
    messages = listen()
    while True:
        next_message = asyncio.ensure_future(anext(messages))
        try:
            await asyncio.wait({next_message})
        except asyncio.CancelledError:
            next_message.cancel()
            raise
        try:
            message = next_message.result()
        except StopAsyncIteration:
            return
        yield message


def _end_with_manager() -> None:
    """End this process when the manager ends, even by SIGKILL."""
    manager = multiprocessing.parent_process()
    if manager is not None:
        end_with(manager.sentinel)  # the read end of a pipe with all start methods


def main() -> None:
    """Run the worker of a script: the settings are in the environment, standard input is a pipe."""
    end_with(sys.stdin.fileno())
    try:
        sys.exit(work(ServerSettings.from_environment(), [], os.environ["FASTBG_BROKER"], workers=1, threads=THREADS))
    except FastbgError as error:
        report_error(error)
        sys.exit(2)


if __name__ == "__main__":
    main()
