"""The requests of one test, and the server's events during the test."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastbg.clock import monotonic, monotonic_ns
from fastbg.events import Event
from fastbg.evidence.expectations import is_called
from fastbg.evidence.tasks import Task
from fastbg.evidence.trace import SentRequest, Trace
from fastbg.evidence.verdict import Judgement, judge, judge_order
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.recorder.request_ids import id_of_request, is_probe, new_run
from fastbg.run.phases import event_of
from fastbg.server.process import EXIT_S
from fastbg.testing.server import Server
from fastbg.text import escape_control

MIN_PAUSE_S, MAX_PAUSE_S = 0.0005, 0.005  # between two reads of the journal
DEATH_S = 0.2  # how long the end of a server process may take to show after a broken connection


class RequestLog:
    """The requests of one test to its ``server``. ``limit_s``: timeout for the response, then for its tasks."""

    def __init__(self, server: Server, limit_s: float) -> None:
        self.server = server
        self.limit_s = limit_s
        self.requests: list[ObservedRequest] = []
        self._run = new_run()
        self._numbers = itertools.count(1)  # used by several threads
        self._path: Path = server.journal_path
        self._start_offset = self._path.stat().st_size
        server.start_test()

    def add(self, method: str, url: str, path: str) -> "ObservedRequest":
        """Record a request before it is sent."""
        request_id = id_of_request(self._run, next(self._numbers))
        trace = Trace(SentRequest(request_id, method, url, f"{method} {path}"))
        request = ObservedRequest(self, trace)
        self.server.journal.listen(request_id, trace.events.append)
        self.requests.append(request)
        return request

    @property
    def events(self) -> list[Event]:
        """All events of the server since the test started, without those of probes."""
        with self._path.open("rb") as file:
            file.seek(self._start_offset)
            events = [event for line in file if (event := read_journal_line(line))]
        return [event for event in events if not is_probe(event.request_id)]

    def death_reason(self) -> str | None:
        """Return why the server died after a connection to it broke, or None if it still runs."""
        if reason := self.server.stop_reason(DEATH_S):
            return reason
        return None if self._is_listening() else self.server.stop_reason(EXIT_S)

    def _is_listening(self) -> bool:
        """Whether the server accepts connections. One that hangs does; one that is about to end does not."""
        try:
            self.server.address.connect(EXIT_S).close()
        except OSError:
            return False
        return True

    def traces(self) -> list[Trace]:
        """Return the trace of each request up to now."""
        self.server.journal.read()
        return [request.trace for request in self.requests]

    def end(self) -> None:
        """Stop listening to the journal."""
        for request in self.requests:
            self.server.journal.ignore(request.trace.request_id)


class ObservedRequest:
    """One request, its trace, and the wait for its end."""

    def __init__(self, request_log: RequestLog, trace: Trace) -> None:
        self.trace = trace
        self._limit_s = request_log.limit_s
        self._server = request_log.server

    def add_phase(self, phase: str, info: Mapping[str, Any]) -> None:
        """Record a phase that httpcore's ``trace`` extension reports."""
        request_id = self.trace.request_id
        event = event_of(phase, info, request_id, dict)  # no file is followed
        if phase.endswith(".failed") and isinstance(error := info["exception"], Exception):
            detail = {"error": f"{type(error).__name__}: {error}"}
            event = Event(monotonic_ns(), "client", "request_failed", request_id, detail)
        if event is not None:
            self.trace.events.append(event)

    @property
    def is_over(self) -> bool:
        """Whether the server has finished the request and all of its tasks."""
        return self.trace.find("request_finished") is not None and not self._open_tasks

    @property
    def _open_tasks(self) -> list[Task]:
        return [task for task in self.trace.tasks if task.is_open]

    def pauses(self, timeout: float | None) -> Iterator[float]:
        """Yield the seconds to wait before each read, until the request is over. Raises `AssertionError` on timeout."""
        __tracebackhide__ = True
        limit_s = self._limit_s if timeout is None else timeout
        end = monotonic() + limit_s
        pause_s, self.trace.ended = MIN_PAUSE_S, None
        while True:
            reason = self._server.stop_reason()
            self._server.journal.read()  # after `stop_reason`, to include the last events of a server that died
            if self.is_over:
                return
            left_s = end - monotonic()
            if reason or left_s <= 0:
                self.trace.ended = reason or f"not within {limit_s:g} s"
                raise AssertionError(escape_control(f"{self._unfinished()}: {self.trace.ended}"))
            yield min(pause_s, left_s)
            pause_s = min(pause_s * 1.5, MAX_PAUSE_S)

    def _unfinished(self) -> str:
        tasks = [f"{last_part(task.name)} {task.state} and did not finish" for task in self._open_tasks]
        if tasks:
            return ", ".join(tasks)
        if not self.trace.find("request_received"):
            return f"{self.trace.name} did not reach the server"
        return f"{self.trace.name} has no open task, but the server has not finished it"

    def judgement(self, task: str | None = None) -> Judgement:
        """Return the verdict on the request, or only on its tasks with the name ``task``."""
        return judge(self.trace if task is None else self._with_task(task))

    def order(self, task: str) -> Judgement:
        """Return the order of the response and the tasks with the name ``task``, also if they failed."""
        trace = self._with_task(task)
        dropped = any(each.state == "dropped" for each in trace.tasks)
        return judge(trace) if dropped else judge_order(trace)

    def _with_task(self, task: str) -> Trace:
        events = [event for event in self.trace.events if is_called(event.detail.get("task", task), task)]
        return replace(self.trace, events=events)


def last_part(name: str) -> str:
    """Return ``send_mail`` for ``shop.mail.send_mail``."""
    return name.rpartition(".")[2]
