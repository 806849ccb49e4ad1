"""``fastbg worker``: runs Taskiq's own worker, with the recorder, on the tasks that a server has queued.

Taskiq's manager starts the worker processes, and starts one again that has died. SIGTERM and Ctrl-C let the tasks
that run finish; what is not done by then the broker delivers to another worker.
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
from fastbg.services.broker import address_file, known_address, needs_queue, without_password
from fastbg.text import escape_control

if TYPE_CHECKING:
    from taskiq import AsyncBroker
    from taskiq.cli.worker.args import WorkerArgs

T = TypeVar("T")
THREADS = 10  # tasks at once


def work(settings: ServerSettings, modules: Sequence[str], broker: str | None, *, workers: int, threads: int) -> int:
    """Work until a signal comes, then finish what runs: 0. Raises `FastbgError` if it cannot start.

    ``settings.app``: module:attribute of Taskiq's broker. ``modules``: with more tasks. ``broker``: addresses; those of
    the embedded one in the data folder without it. ``threads``: tasks that each of the ``workers`` runs at once.
    """
    needs_queue()
    address = broker or known_address(settings.directory)
    if address is None:
        raise FastbgError(
            "nobody says where the broker is",
            where=str(address_file(settings.directory)),
            remedy="start `fastbg serve --engine queue` with the same --dir, or name the broker with --broker",
        )
    os.environ |= settings.environment() | {"FASTBG_BROKER": address}
    settings.make_folder()
    _check(settings)
    from taskiq.acks import AcknowledgeType
    from taskiq.cli.worker.args import WorkerArgs
    from taskiq.cli.worker.process_manager import ProcessManager

    _log()
    arguments = WorkerArgs(
        broker=settings.app,
        modules=list(modules),
        app_dir=str(settings.app_dir),
        workers=workers,
        # A task that waits for a thread would be delivered again meanwhile: take no more than there are.
        max_threadpool_threads=threads,
        max_async_tasks=threads,
        ack_type=AcknowledgeType.WHEN_SAVED,  # the end is in the journal by then
        configure_logging=False,
    )
    sys.stdout.write(
        escape_control(f"fastbg works on the tasks of {settings.app}, from {without_password(address)}") + "\n"
    )
    sys.stdout.flush()
    return ProcessManager(arguments, worker_function=run_worker).start() or 0


def _log() -> None:
    """Taskiq's log goes to standard error: of the manager, and of each worker, which need not be a fork of it."""
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter("[%(asctime)s][%(name)s][%(levelname)-7s][%(processName)s] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _load(settings: ServerSettings) -> "AsyncBroker":
    """Taskiq's broker that the settings name. Raises `FastbgError` where they name none."""
    from taskiq import AsyncBroker
    from taskiq.cli.utils import import_object

    remedy = "name Taskiq's broker, or a function that returns it, as module:attribute"
    try:
        found = import_object(settings.app, app_dir=str(settings.app_dir))
        found = found() if inspect.isfunction(found) else found
    except Exception as error:  # the user's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise FastbgError(f"the broker could not be loaded: {reason}", where=settings.app, remedy=remedy) from error
    if not isinstance(found, AsyncBroker):
        raise FastbgError(f"that is no broker, but {type(found).__name__}", where=settings.app, remedy=remedy)
    return found


def _check(settings: ServerSettings) -> None:
    """Raise `FastbgError` where the broker cannot be loaded.

    It is loaded in a process of its own: a client of NATS that several workers inherit would have the same names in all
    of them, and each would get what is for another one.
    """
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with ours, theirs:
        process = multiprocessing.Process(target=_try, args=(settings, theirs))
        process.start()
        process.join()
        error = ours.recv() if ours.poll() else None
    if error is not None:
        raise FastbgError(error[0], where=error[1], remedy=error[2])


def _try(settings: ServerSettings, told: "multiprocessing.connection.Connection") -> None:
    _end_with_manager()
    try:
        _load(settings)
    except FastbgError as error:
        told.send((error.what, error.where, error.remedy))


def run_worker(args: "WorkerArgs") -> None:
    """What each worker process does: Taskiq's own function for that, with the recorder installed."""
    from taskiq.cli.worker.run import start_listen

    _end_with_manager()
    _log()
    settings = ServerSettings.from_environment()
    broker = _load(settings)
    broker.listen = functools.partial(prompt, broker.listen)  # type: ignore[method-assign]  # see there
    args = dataclasses.replace(args, broker=broker)  # type: ignore[arg-type]  # `start_listen` takes one, too
    if settings.record:
        from fastbg.recorder import taskiq
        from fastbg.recorder.journal import Journal

        taskiq.install(Journal(settings.journal, settings.journal_size), settings.followed)
    start_listen(args)


async def prompt(listen: "Callable[[], AsyncGenerator[T, None]]") -> "AsyncGenerator[T, None]":
    """What ``listen`` yields, until it is cancelled.

    taskiq-nats goes on listening where the cancellation meets the end of one of its requests, of which there is one
    each second: a worker that was told to end would then wait for ever. A message that comes at that very moment is
    delivered again.
    """
    messages = listen()
    while True:
        coming = asyncio.ensure_future(anext(messages))
        try:
            await asyncio.wait({coming})
        except asyncio.CancelledError:
            coming.cancel()
            raise
        try:
            message = coming.result()
        except StopAsyncIteration:
            return
        yield message


def _end_with_manager() -> None:
    """End this process, which multiprocessing has started, when the manager has died."""
    manager = multiprocessing.parent_process()
    if manager is not None:
        end_with(manager.sentinel)  # the read end of a pipe, however the process was started


def main() -> None:
    """Run a worker that another part of fastbg starts: its settings come by the environment, its stdin is a pipe."""
    end_with(sys.stdin.fileno())
    try:
        sys.exit(work(ServerSettings.from_environment(), [], os.environ["FASTBG_BROKER"], workers=1, threads=THREADS))
    except FastbgError as error:
        report_error(error)
        sys.exit(2)


if __name__ == "__main__":
    main()
