"""Follow files: what is appended, partial lines, truncation, rotation.

* `follower`: `Follower`, the asynchronous iterator over what comes
* `watch`: what wakes it, the kernel's notifications or a clock
* `files`: one followed file: what it was, what it is now, what is still to be read
* `journal`: the same of a journal, whose parts are one stream
* `lines`: bytes to lines, and the last lines of a file; needs no event loop

`Follower` is loaded when it is first asked for: who only wants the last lines pays for no asyncio.
"""

from typing import TYPE_CHECKING

from fastbg.follow.files import open_file
from fastbg.follow.lines import LineDecoder, Piece, last_lines

if TYPE_CHECKING:
    from fastbg.follow.follower import Follower

__all__ = ["Follower", "LineDecoder", "Piece", "last_lines", "open_file"]


def __getattr__(name: str) -> object:
    if name == "Follower":
        from fastbg.follow.follower import Follower

        return Follower
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
