"""Ctrl-C while modules are imported.

Python may raise KeyboardInterrupt inside a callback of the import machinery, which swallows it. So a SIGINT during an
import is only remembered; `raise_deferred` raises it before anything starts that takes long.
"""

import signal
from types import FrameType

_IMPORTLIB = "<frozen importlib._bootstrap>"
_came = False


def defer() -> None:
    """Keep a SIGINT that comes during an import for `raise_deferred`. An ignored SIGINT stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def raise_deferred() -> None:
    """Give SIGINT back to Python. Raises `KeyboardInterrupt` if one came during an import."""
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
