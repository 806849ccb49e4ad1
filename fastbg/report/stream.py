"""The stream of lines from followed files to a printer."""

from collections.abc import Callable
from pathlib import Path

from fastbg.events import Appended, Notice
from fastbg.follow.lines import LineDecoder, Piece
from fastbg.report.lines import Printer, Sighting


class Stream:
    """Prints the lines of files as they are seen. ``is_read``: returns whether a file is read to its end."""

    is_read: Callable[[Path], bool] = staticmethod(lambda path: True)

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._decoders: dict[Path, LineDecoder] = {}

    def old(self, path: Path, offset: int, data: bytes) -> None:
        """Print data that was in the file before following started."""
        for piece in self._decode(path, offset, data):
            self._printer.piece(path, piece, None)

    def old_end(self, path: Path) -> None:
        """Continue with the file's new data, which is not the rest of its old data."""

    def end(self, path: Path) -> None:
        """End the file: print its last, incomplete line."""
        self.old_end(path)
        self._end_line(path, None)

    def new(self, item: Appended | Notice) -> None:
        """Print an item of the follower."""
        if isinstance(item, Appended):
            sighting = Sighting(item.t_ns, item.t_ns, item.offset + len(item.data))
            for piece in self._decode(item.path, item.offset, item.data):
                self._printer.piece(item.path, piece, sighting)
        else:
            self._show_notice(item)

    def show_due(self) -> float | None:
        """Print what is due. Returns the seconds until more is due, None if nothing is held."""
        self._printer.flush()
        return None

    def flush(self) -> None:
        self._printer.flush()

    def close(self) -> None:
        """Print all that is held, and the last, incomplete lines."""
        self._printer.close()

    def _decode(self, path: Path, offset: int, data: bytes) -> list[Piece]:
        return self._decoders.setdefault(path, LineDecoder()).feed(data, offset)

    def _show_notice(self, notice: Notice) -> None:
        if restarts(notice):
            self._end_line(notice.path, Sighting(notice.t_ns, notice.t_ns, 0))
        self._printer.notice(notice)

    def _end_line(self, path: Path, sighting: Sighting | None) -> None:
        if (decoder := self._decoders.get(path)) and (piece := decoder.finish()):
            self._printer.piece(path, piece, sighting)


def restarts(notice: Notice) -> bool:
    return notice.kind in ("truncated", "replaced")
