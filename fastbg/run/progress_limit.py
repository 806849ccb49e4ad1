"""A timeout that counts from the last event: a server that is slow for all of its requests has lost none of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastbg.clock import monotonic_ns

if TYPE_CHECKING:
    from fastbg.evidence.observer import Observer

RECHECK_S = 0.05  # this process may have been late itself: what had arrived by then still counts


@asynccontextmanager
async def progress_limit(observer: "Observer", seconds: float) -> AsyncIterator[None]:
    """Raise `TimeoutError` in the body after ``seconds`` without an event of any request.

    The bytes of a body are not events: a response without end would have no limit.
    """
    loop, begin_ns = asyncio.get_running_loop(), monotonic_ns()
    async with asyncio.timeout(None) as timeout:
        timer: asyncio.TimerHandle

        def check(expired_ns: int = 0) -> None:
            nonlocal timer
            now_ns = monotonic_ns()
            left_s = seconds - (now_ns - max(begin_ns, observer.last_event_ns)) / 1e9
            if left_s > 0:
                timer = loop.call_later(left_s, check)
            elif expired_ns and observer.has_read_until(expired_ns):
                timeout.reschedule(loop.time())
            else:
                timer = loop.call_later(RECHECK_S, check, expired_ns or now_ns)

        timer = loop.call_later(seconds, check)
        try:
            yield
        finally:
            timer.cancel()
