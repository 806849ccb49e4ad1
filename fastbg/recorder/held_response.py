"""A response of which the server still holds a part after the app has sent it, until its buffers are empty.

uvloop before 0.23 holds each small response until the step of the event loop ends, and any server holds what a slow
client does not take. The buffers are looked at when a task starts and when it has ended.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fastbg.clock import monotonic_ns
from fastbg.recorder.journal import Journal
from fastbg.recorder.journal_events import JsonText, response_held


class HeldResponse:
    """Records how much of a response uvicorn still holds. ``request``: its id. ``cycle``: uvicorn's state of
    the request.

    ``buffered``: returns the bytes in the buffers of its connection, None if unknown. ``is_reset``: whether the
    connection discards them. ``sizes``: of the followed files.
    """

    def __init__(
        self,
        request: JsonText,
        journal: Journal,
        cycle: Any,
        buffered: Callable[[], int | None],
        is_reset: Callable[[], bool],
        sizes: Callable[[], Mapping[str, int] | None],
    ) -> None:
        self._request = request
        self._journal = journal
        self._cycle = cycle
        self._buffered = buffered
        self._is_reset = is_reset
        self._sizes = sizes
        self._is_over = False

    def look(self) -> None:
        """Record how many bytes are still held. May be called in any thread."""
        if self._is_over:
            return
        before_ns = monotonic_ns()
        buffered = self._buffered()
        t_ns = monotonic_ns()
        # After these checks: what was read are bytes of this response, and none was discarded.
        if buffered is None or self._is_reset() or self._cycle.disconnected or not self._is_current():
            self._is_over = True
            return
        self._is_over = not buffered
        files = None if buffered else self._sizes()
        t_ns = before_ns if buffered else t_ns
        self._journal.write(response_held(self._request, buffered=buffered, t_ns=t_ns, files=files))

    def _is_current(self) -> bool:
        """Return whether the connection has no later request, whose response would be in the same buffers."""
        try:
            return self._cycle.transport.get_protocol().cycle is self._cycle
        except (AttributeError, RuntimeError, NotImplementedError):
            return False
