"""Ctrl-C while modules are imported.

Python may raise KeyboardInterrupt in a callback of the import machinery, which discards it. Therefore a SIGINT during
an import is only stored. `raise_deferred` raises it before long work starts.
"""

import signal
from types import FrameType

_IMPORTLIB = "<frozen importlib._bootstrap>"
_is_pending = False


def defer() -> None:
    """Store a SIGINT during an import for `raise_deferred`. An ignored SIGINT stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def raise_deferred() -> None:
    """Restore Python's SIGINT handler. Raises `KeyboardInterrupt` if a SIGINT arrived during an import."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _is_pending:
        raise KeyboardInterrupt


def _interrupt(_number: int, frame: FrameType | None) -> None:
    global _is_pending
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTLIB:
            _is_pending = True
            return
        frame = frame.f_back
    raise KeyboardInterrupt
