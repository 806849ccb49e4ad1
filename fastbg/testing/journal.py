"""Reads a journal while its server writes it; needs no event loop."""

import threading
from collections.abc import Callable
from pathlib import Path

from fastbg.events import Event
from fastbg.recorder.journal_lines import JournalLines, read_journal_line

Take = Callable[[Event], None]


class JournalReader:
    """Hands each event of the journal at ``path``, which need not be there yet, to who `listen` to its request."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb", buffering=0)
        self._lines = JournalLines()
        self._listeners: dict[str | None, Take] = {}
        self._reading = threading.Lock()

    def listen(self, request_id: str, take: Take) -> None:
        """Call ``take`` with each event of that request, from `read`, until somebody else listens to it."""
        self.read()
        self._listeners[request_id] = take

    def ignore(self, request_id: str) -> None:
        """Nobody listens to that request any more."""
        self._listeners.pop(request_id, None)

    def read(self) -> None:
        """Read what was written since the last time."""
        with self._reading:
            if self._file.closed:
                return
            for line in self._lines.feed(self._file.read()):
                event = read_journal_line(line)
                if event is not None and (take := self._listeners.get(event.request_id)):
                    take(event)

    def close(self) -> None:
        """Release the file; there is nothing more to read."""
        self.read()
        with self._reading:
            self._file.close()
