"""Measures the duration of each step of a coroutine: from one ``await`` that waits to the next."""

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from fastbg.clock import monotonic_ns

BLOCKED_NS = 50_000_000  # a longer step counts as blocking the event loop


@types.coroutine
def in_steps(
    coroutine: Coroutine[Any, Any, Any], blocked: Callable[[int], None], begun: Callable[[], None] | None = None
) -> Generator[Any, Any, Any]:
    """Run ``coroutine`` like ``await``: it yields, receives, returns and raises the same.

    Calls ``blocked`` with the nanoseconds of each step that took longer than `BLOCKED_NS`, and ``begun`` after the
    first step, also if that is the last one.
    """
    step: Callable[[Any], Any] = coroutine.send
    value: Any = None
    while True:
        begin_ns = monotonic_ns()
        try:
            waits_for = step(value)
        except StopIteration as end:
            return end.value
        finally:
            value = None  # an error in it would otherwise form a reference cycle with this frame
            took_ns = monotonic_ns() - begin_ns
            if took_ns > BLOCKED_NS:
                blocked(took_ns)
            if begun is not None:
                begun()
                begun = None
        try:
            step, value = coroutine.send, (yield waits_for)
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:  # noqa: BLE001  # for example a cancellation, which the coroutine handles
            step, value = coroutine.throw, error
