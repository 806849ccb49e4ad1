"""An event loop whose timeouts do not depend on a clock that a test has replaced."""

import asyncio

from fastbg.clock import monotonic


class SystemClockLoop(asyncio.SelectorEventLoop):
    """An event loop that reads the system's clock. asyncio's own loop stands still under freezegun."""

    def time(self) -> float:
        return monotonic()
