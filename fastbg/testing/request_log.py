"""What one test sees of its server: the requests that it sends, and all that the server tells meanwhile."""

import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastbg.events import Event
from fastbg.evidence.expectations import is_called
from fastbg.evidence.history import REUSED
from fastbg.evidence.tasks import Task
from fastbg.evidence.trace import SentRequest, Trace
from fastbg.evidence.verdict import Judgement, judge
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.run.phases import event_of
from fastbg.server.process import EXIT_S
from fastbg.testing.server import Server
from fastbg.text import escape_control

MIN_PAUSE_S, MAX_PAUSE_S = 0.0005, 0.005  # between two looks at the journal
DEATH_S = 0.2  # how long a server whose connection broke may take to be known as dead


class RequestLog:
    """One test and its ``server``. ``limit_s``: seconds that a response, and then its tasks, may take."""

    def __init__(self, server: Server, limit_s: float) -> None:
        self.server = server
        self.limit_s = limit_s
        self.stories: list[ObservedRequest] = []
        self._path: Path = server.journal_path
        self._begin = self._path.stat().st_size
        server.begin()

    def story(self, method: str, url: str, path: str, request_id: str | None) -> "ObservedRequest":
        """The story of a request that is about to be sent, under the id that the test gave it or a new one."""
        request_id = request_id or secrets.token_hex(8)
        trace = Trace(SentRequest(request_id, method, url, f"{method} {path}"))
        story = ObservedRequest(self, trace)
        self.server.journal.listen(request_id, trace.events.append)
        for other in self.stories:
            if other.trace.request_id == request_id and not other.over:
                other.flaw = story.flaw = f"X-Request-ID {request_id!r}: {REUSED}"
        self.stories.append(story)
        return story

    @property
    def events(self) -> list[Event]:
        """Everything that the server has told since the test began."""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            return [event for line in file if (event := read_journal_line(line))]

    def death(self) -> str | None:
        """Return why the server has died, now that a connection to it broke, or None if it still runs."""
        if trouble := self.server.trouble(DEATH_S):
            return trouble
        return None if self._is_listening() else self.server.trouble(EXIT_S)

    def _is_listening(self) -> bool:
        """Whether the server takes connections, as one does that hangs, and none that is about to end."""
        url = urlsplit(self.server.url)
        try:
            socket.create_connection((url.hostname or "", url.port or 0), EXIT_S).close()
        except OSError:
            return False
        return True

    def traces(self) -> list[Trace]:
        """Return what has been seen of each request so far."""
        self.server.journal.read()
        return [story.trace for story in self.stories]

    def end(self) -> None:
        """Listen no more."""
        for story in self.stories:
            self.server.journal.ignore(story.trace.request_id)


class ObservedRequest:
    """One request: what was seen of it, and the wait for its end. ``flaw``: why nothing can be proved, or None."""

    def __init__(self, observation: RequestLog, trace: Trace) -> None:
        self.trace = trace
        self.flaw: str | None = None
        self._limit_s = observation.limit_s
        self._server = observation.server

    def note(self, phase: str, info: Mapping[str, Any]) -> None:
        """Take a phase that httpcore's ``trace`` extension tells of."""
        request_id = self.trace.request_id
        event = event_of(phase, info, request_id, dict)  # no file is followed
        if phase.endswith(".failed") and isinstance(error := info["exception"], Exception):
            detail = {"error": f"{type(error).__name__}: {error}"}
            event = Event(time.monotonic_ns(), "client", "request_failed", request_id, detail)
        if event is not None:
            self.trace.events.append(event)

    @property
    def over(self) -> bool:
        """Whether the server is done with the request and all of its tasks."""
        return self.trace.find("request_finished") is not None and not self._open_tasks

    @property
    def _open_tasks(self) -> list[Task]:
        return [task for task in self.trace.tasks if task.is_open]

    def pauses(self, timeout: float | None) -> Iterator[float]:
        """Seconds to wait before the next look, until the request is over. Raises `AssertionError` if it cannot be."""
        __tracebackhide__ = True
        limit_s = self._limit_s if timeout is None else timeout
        end = time.monotonic() + limit_s
        pause_s, self.trace.ended = MIN_PAUSE_S, None
        while True:
            trouble = self._server.trouble()
            if self._look():  # only now: what it wrote before it died counts
                return
            left_s = end - time.monotonic()
            if trouble or left_s <= 0:
                self.trace.ended = trouble or f"not within {limit_s:g} s"
                raise AssertionError(escape_control(f"{self._unfinished()}: {self.trace.ended}"))
            yield min(pause_s, left_s)
            pause_s = min(pause_s * 1.5, MAX_PAUSE_S)

    def _look(self) -> bool:
        __tracebackhide__ = True
        self._server.journal.read()
        if self.flaw:
            raise AssertionError(escape_control(self.flaw))
        return self.over

    def _unfinished(self) -> str:
        tasks = [f"{last_part(task.name)} {task.state} and did not finish" for task in self._open_tasks]
        if tasks:
            return ", ".join(tasks)
        if not self.trace.find("request_received"):
            return f"{self.trace.name} did not reach the server"
        return f"{self.trace.name} queued no task that is open, yet the server is not done with it"

    def judgement(self, task: str | None = None) -> Judgement:
        """The verdict on the request, or on its tasks of that name alone."""
        if task is None:
            return judge(self.trace)
        events = [event for event in self.trace.events if is_called(event.detail.get("task", task), task)]
        return judge(replace(self.trace, events=events))


def last_part(name: str) -> str:
    """``send_mail`` of ``shop.mail.send_mail``."""
    return name.rpartition(".")[2]
