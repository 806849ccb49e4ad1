"""fastbg shows, proves and tests when FastAPI background tasks really run.

`fastbg explain architecture` shows how it is built, and where to find what.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["record"]


def __getattr__(name: str) -> Any:
    """Import `record` when it is used: the commands start faster without Starlette."""
    if name == "record":
        from fastbg.attach.record import record

        return record
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
