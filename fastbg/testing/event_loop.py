"""Event loops in threads. Their timeouts do not depend on a clock that a test has replaced."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from fastbg.clock import monotonic
from fastbg.testing.server import END_S, INTERRUPTED_STOP_S

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

# The tasks of an app's lifespan, also those that its startup leaves behind.
lifespan_tasks: contextvars.ContextVar["WeakSet[asyncio.Task[Any]]"] = contextvars.ContextVar("lifespan_tasks")


class SystemClockLoop(asyncio.SelectorEventLoop):
    """An event loop that reads the system's clock. asyncio's own loop stands still under freezegun.

    It adds each task to the `lifespan_tasks` of the context that the task is created in.
    """

    def time(self) -> float:
        return monotonic()

    def create_task(self, *args: Any, **options: Any) -> "asyncio.Task[Any]":
        task = super().create_task(*args, **options)
        if (tasks := lifespan_tasks.get(None)) is not None:
            tasks.add(task)
        return task


@contextmanager
def start_portal() -> Iterator["BlockingPortal"]:
    """Start a thread with a `SystemClockLoop`. The function of anyio 3 that does this cannot be given a loop."""
    from anyio.from_thread import BlockingPortal

    started: Future[BlockingPortal] = Future()

    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    def run() -> None:
        with asyncio.Runner(loop_factory=SystemClockLoop) as runner:
            runner.run(serve())

    with ThreadPoolExecutor(1) as executor:
        ended = executor.submit(run)
        first: list[Future[Any]] = [started, ended]
        wait(first, return_when=FIRST_COMPLETED)
        if ended.done():
            ended.result()  # raises what prevented the start
        portal, has_failed = started.result(), True
        try:
            yield portal
            has_failed = False
        finally:
            portal.call(portal.stop, has_failed)


class LoopThread:
    """One event loop in a thread, for all app objects of a session. It runs until `stop`.

    A connection pool that an app creates once, at the first use, belongs to the event loop of this use. In a loop per
    test, each later test would fail: "attached to a different loop".

    ``blocked_by``: the name of an app that did not end. Then no other app may use this loop. ``before``: the name of
    the app that blocked the loop before this one, None for the first loop.
    """

    def __init__(self, before: str | None = None) -> None:
        self.before = before
        self.blocked_by: str | None = None
        self.is_over = False  # also while the thread still cancels the tasks
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[started.set], name="fastbg event loop", daemon=True)
        self._thread.start()
        started.wait()

    @property
    def description(self) -> str:
        """What a failure says about this loop."""
        why = f", new after {self.before}, which did not end" if self.before else ""
        return f"fastbg serves app objects in one event loop for the whole session, in a thread of its own{why}"

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in the loop, in a context without the variables of the caller. Does not wait for it."""

        def create() -> None:
            self._tasks.add(task := self._loop.create_task(main()))
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(create, context=contextvars.Context())

    def stop(self, *, drain: bool) -> None:
        """Cancel all tasks, and end the thread. Without ``drain``, or if an app blocks it, do not wait for long."""
        with suppress(RuntimeError):  # an app has ended the loop
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(END_S if drain and self.blocked_by is None else INTERRUPTED_STOP_S)

    def _run(self, on_start: Callable[[], None]) -> None:
        async def main() -> None:
            self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
            self._tasks: set[asyncio.Task[None]] = set()
            on_start()
            while not (self._end.is_set() or self.is_over):
                with suppress(asyncio.CancelledError):  # an app may cancel all tasks of its loop when it shuts down
                    await self._end.wait()

        # An app may call sys.exit, or stop the loop. An exception of this thread would fail the test that runs now.
        with (
            suppress(SystemExit, KeyboardInterrupt, RuntimeError),
            asyncio.Runner(loop_factory=SystemClockLoop) as runner,
        ):
            try:
                runner.run(main())
            finally:
                self.is_over = True
