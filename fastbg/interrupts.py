"""Ctrl-C while modules are imported.

Python raises a KeyboardInterrupt wherever it is, be it in a callback of the import machinery, which swallows it. So a
SIGINT that meets an import is only noted, and raised by `raise_deferred`, before anything begins that takes long.
"""

import signal
from types import FrameType

_IMPORTLIB = "<frozen importlib._bootstrap>"
_came = False


def defer() -> None:
    """From now on a SIGINT in an import waits for `raise_deferred`. One that is ignored stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def raise_deferred() -> None:
    """Leave SIGINT to Python again. Raises `KeyboardInterrupt` if one came in an import."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _came:
        raise KeyboardInterrupt


def _interrupt(_number: int, frame: FrameType | None) -> None:
    global _came
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTLIB:
            _came = True
            return
        frame = frame.f_back
    raise KeyboardInterrupt
