"""The interface of a server under test, and the timeouts for its end."""

from pathlib import Path
from typing import Protocol

from fastbg.server.address import Address
from fastbg.testing.journal import JournalReader

STOP_S = 2  # timeout for running tasks when the server stops
END_S = 10.0  # timeout for the end of an app, and of the event loop of all app objects, after that
INTERRUPTED_STOP_S = 0.5  # the same after Ctrl-C


class Server(Protocol):
    """A running server. ``name``: the name of the app. ``event_loop``: a sentence about the event loop it runs in."""

    name: str
    event_loop: str
    address: Address
    journal_path: Path
    journal: JournalReader

    def stop_reason(self, timeout_s: float = 0.0) -> str | None:
        """Return why the server has stopped, or None if it still runs after ``timeout_s`` seconds."""

    def start_test(self) -> None:
        """Discard the output from before the test."""

    def last_lines(self) -> list[str]:
        """Return the last lines on standard error since `start_test`; empty if the server runs in this process."""

    def stop(self, *, drain: bool = True) -> None:
        """Wait up to `STOP_S` seconds for running tasks, then stop the server. Raises `ServerError`.

        Without ``drain`` it waits up to `INTERRUPTED_STOP_S` and raises no error: running tasks are killed, or end
        with this process.
        """
