"""Journals in the Trace Event Format, which Perfetto and chrome://tracing open.

Each server process and each worker is a process with the track "event loop", on which the blocked steps are, and one
for each thread that ran tasks: it runs one function at a time. Requests, and the tasks of an event loop, overlap in any
way, and slices of one track must not. So they are asynchronous slices: each has an id of its own, and the viewer finds
a lane for it. Viewers make one track of all outermost slices with one name, and paths are many: so the outermost slice
of a request is named by its verdict. An id is of its process: Perfetto shows any other id outside of all processes.

The timestamps are microseconds since 1970: the monotonic clock of a boot, moved by one reading of its wall clock. So
the order within a boot is exact, and between boots approximate.

Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from fastbg.events import Event
from fastbg.evidence.processes import ProcessKey, RecordedProcess, key_of
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.tasks import Task

MAX_PROCESSES = 10_000  # with tracks of their own; the events of all others are on the tracks of one
MAX_THREADS = 10_000  # with a track; tasks in others are asynchronous slices, as those of an older journal
MAX_PID = 2**22  # Linux gives smaller ids: this one and larger ones are for processes whose id another host has too
MAX_WALL_NS = 2**62  # a viewer cannot show a later time

_OTHERS: ProcessKey = (None, "", 0)
# Perfetto refuses the escapes of characters beyond U+FFFF, as in most emoji: so nothing is ASCII only.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_ENDS = ("task_finished", "task_failed")


class TraceEvents:
    """Passes one JSON document to ``write``, piece by piece, while a journal is read. Memory does not grow with it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._before = '{"displayTimeUnit":"ms","traceEvents":['
        self._ids = count(1)
        self._pids: dict[ProcessKey, int] = {}
        self._used: set[int] = set()
        self._threads: set[tuple[int, int]] = set()  # the numbers of a process and of its thread
        self._other_pids = count(MAX_PID)
        self._shifts: dict[tuple[str | None, str], int] = {}  # from the monotonic clock of a boot to the wall clock

    def closed(
        self, request: RecordedRequest, tasks: Sequence[Task], events: Sequence[Event], process: RecordedProcess
    ) -> None:
        """Write a judged request and its tasks, which ``events`` are about."""
        pid = self._pid(process.key, _server(process))
        shift_ns = self._shift_ns(process.key, request.received_ns, request.wall_ns)
        sent_ns = request.server.sent.left_ns if request.server.sent else None
        about: dict[str, Any] = {"status": request.server.status, "verdict": request.judgement.verdict}
        about |= {"reason": request.judgement.reason, "error": request.server.error, "request": request.request_id}
        slice_ = {"cat": "request", "id2": self._id(), "pid": pid, "tid": pid}
        track = f"requests: {request.judgement.verdict}"
        begin_us = _us(request.received_ns + shift_ns)
        self._add(ph="b", name=track, ts=begin_us, **slice_)
        self._add(ph="b", name=request.name, ts=begin_us, args=_known(about), **slice_)
        if sent_ns is not None:
            self._add(ph="b", name="until the response was sent", ts=begin_us, **slice_)
            sent_us = max(begin_us, _us(sent_ns + shift_ns))
            self._add(ph="e", name="until the response was sent", ts=sent_us, **slice_)
        if request.finished_ns is not None:
            end_us = max(begin_us, _us(max(request.finished_ns, sent_ns or 0) + shift_ns))
            self._add(ph="e", name=request.name, ts=end_us, **slice_)
            self._add(ph="e", name=track, ts=end_us, **slice_)
        for task, its_events in zip(tasks, _by_task(events), strict=True):
            self._task(task, its_events, pid)

    def blocked(self, event: Event, process: RecordedProcess) -> None:
        """Write code outside of tasks that blocked an event loop."""
        detail = event.detail
        pid = self._pid(process.key, _server(process))
        self._block(event, pid, detail["place"], {"path": detail.get("path", "")})

    def end(self) -> None:
        """Complete the document."""
        self._write(f"{self._before}\n]}}\n" if self._before != "," else "\n]}\n")

    def _task(self, task: Task, events: Sequence[Event], pid: int) -> None:
        """Write a task, whose ``events`` are in order. ``pid``: of the server, where it is unless it is in a worker."""
        start = next((event for event in events if event.name == "task_started"), None)
        if start is not None and "worker" in start.detail:
            pid = self._pid(key_of(start.detail), f"worker {start.detail['worker']}")
        about: dict[str, Any] = {"state": task.state, "where": task.where, "waited_ms": task.waited_ms}
        about |= {"error": task.error, "reason": task.reason, "detail": task.detail, "request": events[0].request_id}
        slice_ = {"name": task.name, "cat": "task", "pid": pid}
        for event in events:
            if event.name == "loop_blocked":
                self._block(event, pid, task.name, {})
            elif event.name == "task_dropped" and start is None:
                self._add(ph="n", ts=self._us_of(event), id2=self._id(), tid=pid, args=_known(about), **slice_)
        if start is None:
            return
        begin_us = self._us_of(start)
        last = next((event for event in reversed(events) if event.name in _ENDS), None)
        end_us = None if last is None else max(begin_us, self._us_of(last))
        self._run(begin_us, end_us, self._tid(pid, task.thread_id), args=_known(about), **slice_)

    def _run(self, begin_us: float, end_us: float | None, tid: int | None, **slice_: Any) -> None:
        """Write a task that has started: on the track of its thread ``tid``, None if that is unknown."""
        if tid is not None and end_us is not None:
            self._add(ph="X", ts=begin_us, dur=end_us - begin_us, tid=tid, **slice_)
        elif tid is not None:
            self._add(ph="B", ts=begin_us, tid=tid, **slice_)
        else:
            about, slice_ = slice_.pop("args"), slice_ | {"id2": self._id(), "tid": slice_["pid"]}
            self._add(ph="b", ts=begin_us, args=about, **slice_)
            if end_us is not None:
                self._add(ph="e", ts=end_us, **slice_)

    def _block(self, event: Event, pid: int, what: str, about: dict[str, Any]) -> None:
        took_ns = int(min(max(event.detail.get("ms", 0.0), 0.0) * 1e6, event.t_ns))
        end_us = self._us_of(event)
        begin_us = max(end_us - took_ns / 1000, 0.0)
        slice_ = {"name": f"blocked by {what}", "cat": "blocked", "pid": pid, "tid": pid}
        self._add(ph="X", ts=begin_us, dur=end_us - begin_us, args=about, **slice_)

    def _id(self) -> dict[str, str]:
        return {"local": hex(next(self._ids))}

    def _add(self, **fields: Any) -> None:
        text = _encode(fields).encode("utf-8", "replace").decode()  # a lone surrogate is no character
        self._write(f"{self._before}\n{text}")
        self._before = ","

    def _pid(self, key: ProcessKey, name: str) -> int:
        """Return the number of a process. The first time, name its tracks."""
        if key not in self._pids and len(self._pids) >= MAX_PROCESSES:
            key, name = _OTHERS, "other processes"
        if key not in self._pids:
            host, _, pid = key
            number = pid if 0 < pid < MAX_PID and pid not in self._used else next(self._other_pids)
            self._pids[key] = number
            self._used.add(number)
            label = " ".join(filter(None, [name, f"({pid})" if pid else "", host and f"on {host}"]))
            self._name("process", number, number, label)
            self._name("thread", number, number, "event loop")
        return self._pids[key]

    def _tid(self, pid: int, thread_id: int | None) -> int | None:
        """Return the number of a thread's track, None without one. The first time, name it."""
        if thread_id is None or not 0 < thread_id < MAX_PID or thread_id == pid:
            return None
        if (pid, thread_id) not in self._threads:
            if len(self._threads) >= MAX_THREADS:
                return None
            self._threads.add((pid, thread_id))
            self._name("thread", pid, thread_id, f"thread {thread_id}")
        return thread_id

    def _name(self, what: str, pid: int, tid: int, name: str) -> None:
        self._add(ph="M", name=f"{what}_name", pid=pid, tid=tid, args={"name": name})

    def _us_of(self, event: Event) -> float:
        return _us(event.t_ns + self._shift_ns(key_of(event.detail), event.t_ns, event.detail["wall_ns"]))

    def _shift_ns(self, process: ProcessKey, t_ns: int, wall_ns: int) -> int:
        """Return what to add to the monotonic times of a boot: at first, the difference of its two clocks now."""
        boot = process[:2]
        if boot not in self._shifts:
            if len(self._shifts) >= MAX_PROCESSES:
                self._shifts.clear()
            self._shifts[boot] = wall_ns - t_ns if 0 <= wall_ns < MAX_WALL_NS else 0
        return self._shifts[boot]


def _us(wall_ns: int) -> float:
    return max(wall_ns, 0) / 1000


def _server(process: RecordedProcess) -> str:
    return process.server or "server"


def _known(about: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if value is not None}


def _by_task(events: Sequence[Event]) -> list[list[Event]]:
    """Return the events of each task in the order of their times; the tasks in the order of their numbers."""
    found: defaultdict[int, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.t_ns):
        if event.name != "loop_blocked" or event.detail["n"] in found:
            found[event.detail["n"]].append(event)
    return [found[n] for n in sorted(found)]
