"""Reads a journal while its server writes it, without an event loop."""

import threading
from collections.abc import Callable
from pathlib import Path

from fastbg.events import Event
from fastbg.recorder.journal_lines import JournalLines, read_journal_line

Listener = Callable[[Event], None]


class JournalReader:
    """Passes each event of the journal at ``path`` to the listener of its request. Creates a missing file."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb", buffering=0)
        self._lines = JournalLines()
        self._listeners: dict[str | None, Listener] = {}
        self._lock = threading.Lock()

    def listen(self, request_id: str, listener: Listener) -> None:
        """Call ``listener`` in `read` with each later event of that request. Replaces the previous listener."""
        self.read()
        self._listeners[request_id] = listener

    def ignore(self, request_id: str) -> None:
        """Remove the listener of that request."""
        self._listeners.pop(request_id, None)

    def read(self) -> None:
        """Read the lines written since the last call."""
        with self._lock:
            if self._file.closed:
                return
            for line in self._lines.feed(self._file.read()):
                event = read_journal_line(line)
                if event is not None and (listener := self._listeners.get(event.request_id)):
                    listener(event)

    def close(self) -> None:
        """Read the last lines and close the file."""
        self.read()
        with self._lock:
            self._file.close()
