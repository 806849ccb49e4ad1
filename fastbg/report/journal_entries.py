"""The entries of a followed journal, without those of probes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastbg.events import Appended
from fastbg.follow.lines import LineDecoder
from fastbg.recorder.journal_lines import JournalLines, read_journal_line
from fastbg.recorder.request_ids import is_probe
from fastbg.report.lines import Entry


@dataclass(frozen=True, slots=True)
class Foreign:
    """A line of the journal that is not an event."""

    path: Path
    text: str
    seen_ns: int | None


class JournalEntries:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = JournalLines()
        self._old_end = 0

    def old(self, offset: int, data: bytes) -> list[Entry | Foreign]:
        """Return the entries that ``data`` completes; it was in the file before following started."""
        self._old_end = offset + len(data)
        return self._read(self._lines.feed(data), None)

    def new(self, item: Appended) -> list[Entry | Foreign]:
        """Return the entries that ``item`` completes."""
        if item.offset == self._old_end:
            self._lines.resume(item.file)
        return self._read(self._lines.feed(item.data, item.file), item.t_ns)

    def finish(self, seen_ns: int | None) -> list[Entry | Foreign]:
        """Return the entries of the last, incomplete lines."""
        return self._read(self._lines.finish(), seen_ns)

    def _read(self, lines: Sequence[bytes], seen_ns: int | None) -> list[Entry | Foreign]:
        entries = (self._entry(line, seen_ns) for line in lines)
        return [each for each in entries if not (isinstance(each, Entry) and is_probe(each.event.request_id))]

    def _entry(self, line: bytes, seen_ns: int | None) -> Entry | Foreign:
        event = read_journal_line(line)
        if event is not None:
            return Entry(self._path, event)
        text = LineDecoder().feed(line + b"\n")[0].text  # the same length limit as for other files
        return Foreign(self._path, text, seen_ns)
