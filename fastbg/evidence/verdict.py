"""Decides the verdict of a request from its evidence. Pure: no files, no sockets, no clock.

`judge` uses all witnesses of a request that fastbg sent, `judge_recorded` only the server. The rules for the server's
events are the same in both.

These proofs show what came first:

``client+file``
    The client read the sizes of the followed files after it had received the complete response. A write at or after
    that size was made later. So was the creation of a file that did not exist then, or the deletion of one that did.
``server``
    The server passed the last byte of the response to the kernel and started the tasks later: two times of one
    process. No write was in its file right after that byte. For ``work-first``: a task ended before the server
    passed that byte to the kernel. For ``overlapping``: a task started before that, and ended after it.
``server+worker``
    The server passed the last byte of the response to the kernel, and a worker started the task later. The worker is
    another process under the same boot of the same host, so both times are from the kernel's monotonic clock. A
    worker under another boot proves nothing.
``file+server``
    The server read the file sizes right before it sent the last byte of the response. A write that ends at or below
    that size was made earlier. So was the creation of a file that existed then, or the deletion of one that did not.
    Right after that byte it read them again. A write at or after that size was made later; this is used for work
    without a task. A text that fastbg read in the file before the server sent that byte was written earlier.

In a file that was overwritten, replaced or changed in place, the place of a text proves nothing. There ``server`` alone
proves the order, unless the file had already changed when the response was sent and no other request wrote to it.

Without a proof, the verdict is ``unproven``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple, Self

from fastbg.events import Event, Verdict
from fastbg.evidence.existence import is_changed_after, is_changed_before
from fastbg.evidence.processes import ProcessState
from fastbg.evidence.tasks import Task, ms_between
from fastbg.evidence.trace import ExpectedWrite, Trace, Write

UNFINISHED = "the journal ends before that"
GONE = "the process of the server is gone"
RUNNING = "the process of the server still runs: report again later"
NOTHING_QUEUED = "no background task was queued"
UVLOOP_LIMIT = 64 * 1024  # bytes that uvloop before 0.23 holds at most, headers included


class Judgement(NamedTuple):  # like `SentResponse` made for each request of a journal: see `Event`
    """A verdict, the evidence that proves it, and the reason if it needs an explanation."""

    verdict: Verdict
    evidence: tuple[str, ...] = ()
    reason: str | None = None


class SentResponse(NamedTuple):
    """The interval in which the server passed the last byte of a response to the kernel, in monotonic nanoseconds.

    ``buffered``: bytes of the response that the server still held at ``sent_ns``, None if unknown. ``detail``: why it
    is unknown. ``size``: of the body in bytes. ``held_ns``: the last look at which it still held some, ``drained_ns``:
    the look at which it held none, both None without such a look.
    """

    sending_ns: int
    sent_ns: int
    buffered: int | None
    detail: str | None = None
    size: int | None = None
    held_ns: int | None = None
    drained_ns: int | None = None

    @property
    def left_ns(self) -> int:
        """When the last byte left the server, as far as it is known: at this time or later."""
        return self.held_ns or self.drained_ns or self.sent_ns

    def looked_at(self, event: Event) -> Self:
        """Add a later look at what the server held: a ``response_held`` event."""
        if event.detail.get("buffered") == 0:
            return self._replace(drained_ns=event.t_ns)
        return self._replace(held_ns=event.t_ns)

    @classmethod
    def of_request(cls, events: Iterable[Event]) -> Self | None:
        """Return when the response to the request of ``events`` was sent, None if it was not."""
        sent = None
        for event in events:
            if event.name == "response_sent":
                sent = cls.of(event)
            elif event.name == "response_held" and sent is not None:
                sent = sent.looked_at(event)
        return sent

    @classmethod
    def of(cls, event: Event) -> Self:
        detail = event.detail
        return cls(
            detail.get("sending_ns", 0),
            event.t_ns,
            detail.get("buffered"),
            detail.get("detail"),
            detail.get("bytes"),
        )


def why_not_sent(event: Event) -> str:
    """Return the reason that a ``response_lost`` event gives."""
    return event.detail.get("detail") or "the client disconnected before the response was sent"


@dataclass(slots=True)
class ServerRecord:
    """What a server recorded about one request, except its tasks.

    ``status``: status of the response, also if it was not completely sent (``not_sent``: why). ``finished``: the app's
    call ended. ``error``: the exception that it raised. ``shutdown_ms``: from the request to the shutdown of the
    server. ``process``: whether the server's process still runs. ``flaw``: why the events prove nothing.
    """

    status: int | None = None
    sent: SentResponse | None = None
    not_sent: str | None = None
    finished: bool = False
    error: str | None = None
    shutdown_ms: float | None = None
    process: ProcessState = None
    flaw: str | None = None

    @property
    def shutdown(self) -> str | None:
        if self.shutdown_ms is None:
            return None
        return f"the server began to shut down {self.shutdown_ms / 1000:.1f} s after it received the request"


def judge(trace: Trace) -> Judgement:
    """Decide the verdict of one request from the evidence so far."""
    failed = trace.find("request_failed")
    if not trace.find("request_sent"):
        return _unproven(f"not sent: {failed.detail['error']}" if failed else trace.ended)
    tasks, writes = trace.tasks, trace.writes
    if broken := _failed_or_dropped(tasks):
        return broken
    if lost := _lost(trace, tasks):
        return lost
    if failed:
        kept = not trace.request.hangs_up and trace.find("response_sent")
        where = "; the server had sent all of it" if kept else ""
        return _unproven(f"no response: {failed.detail['error']}{where}")
    if trace.unknowable or trace.missing:
        return _unproven(_why_unknowable(trace))
    if not tasks and not writes and not trace.overwritten:
        return _without_work(trace)
    return _order(trace, tasks, writes)


def judge_order(trace: Trace) -> Judgement:
    """Decide only what the server shows of the order of the response and the ended tasks, failed ones included."""
    sent, lost = SentResponse.of_request(trace.events), trace.find("response_lost")
    return _server_order(sent, trace.tasks, why_not_sent(lost) if lost else None)


def judge_recorded(record: ServerRecord, tasks: Sequence[Task]) -> Judgement:
    """Decide the verdict of a request from the record of its server."""
    if record.flaw:
        return _unproven(record.flaw)
    all_finished = all(task.state == "finished" for task in tasks)  # the usual case in a long journal
    if not all_finished and (broken := _failed_or_dropped(tasks)):
        return broken
    if not all_finished and (unfinished := _unfinished(tasks)):
        in_server = any(task.is_open and task.where != "worker" for task in tasks)
        if in_server and record.process == "running":
            return _unproven(f"{'; '.join(_open(tasks))}, and {RUNNING}")
        gone = GONE if record.process == "gone" else None
        causes = [cause for cause in (record.shutdown or gone if in_server else None, record.error) if cause]
        return Judgement("lost", ("server",), f"{'; '.join(unfinished)} ({'; '.join(causes) or UNFINISHED})")
    if tasks:
        order = _server_order(record.sent, tasks, record.not_sent)
        if order.verdict == "unproven":
            return _unproven(f"{order.reason}; `fastbg demo` with a file that the task writes can show the order")
        return order
    if record.finished:
        return _nothing_queued(record.error)
    if record.process == "running":
        return _unproven(f"the request has not finished, and {RUNNING}")
    cause = record.shutdown or (GONE if record.process == "gone" else None)
    return _unproven(f"{f'{cause}, and ' if cause else ''}the journal ends before the request finished")


def _unproven(reason: str | None) -> Judgement:
    return Judgement("unproven", (), reason)


def _failed_or_dropped(tasks: Sequence[Task]) -> Judgement | None:
    for state in ("failed", "dropped"):
        hit = [f"{task.name} {state}: {_why(task)}" for task in tasks if task.state == state]
        if hit:
            return Judgement(state, ("server",), "; ".join(hit))
    return None


def _why(task: Task) -> str:
    return task.error or task.detail or task.reason or "no reason recorded"


def _unfinished(tasks: Sequence[Task]) -> list[str]:
    return [f"{each}, never finished" for each in _open(tasks)]


def _open(tasks: Sequence[Task]) -> list[str]:
    return [f"{task.name} {task.state}" for task in tasks if task.is_open]


def _nothing_queued(error: str | None) -> Judgement:
    return Judgement("no-work", ("server",), f"{NOTHING_QUEUED}; the app raised {error}" if error else NOTHING_QUEUED)


def _server_order(sent: SentResponse | None, tasks: Sequence[Task], not_sent: str | None) -> Judgement:
    """Decide the order from the server's events; all ``tasks`` have ended. ``not_sent``: why there is no ``sent``."""
    if sent is None:
        return _unproven(not_sent or "the journal has no response_sent event")
    witness = "server+worker" if any(task.where == "worker" for task in tasks) else "server"
    early = [task.name for task in tasks if task.ended_ns is not None and task.ended_ns <= sent.sending_ns]
    if early:
        return Judgement("work-first", (witness,), f"{', '.join(early)} finished before the response was sent")
    if not tasks:
        return _unproven("the journal has no background task of this request")
    if any(task.elsewhere for task in tasks):
        return _unproven("a worker under another boot ran the task, and its clock cannot be compared with the server's")
    if sent.buffered is None:
        why = sent.detail or "the server's write buffer could not be checked"
        return _unproven(f"whether the whole response had left the server is unknown: {why}")
    if sent.buffered:
        return _order_of_held(sent, sent.buffered, tasks, witness)
    overlapping = [_describe_overlap(sent, task) for task in tasks if _overlaps(sent, task)]
    if overlapping:
        return Judgement("overlapping", (witness,), "; ".join(overlapping))
    if not all((called_ns := task.called_ns) is not None and called_ns > sent.sent_ns for task in tasks):
        return _unproven("a task started or ended in the moment in which the server sent the response")
    return Judgement("response-first", (witness,))


def _order_of_held(sent: SentResponse, buffered: int, tasks: Sequence[Task], witness: str) -> Judgement:
    """Decide the order from later looks at a response that the server still held after the send."""
    held_ns, drained_ns = sent.held_ns or 0, sent.drained_ns
    early = [task.name for task in tasks if task.ended_ns is not None and task.ended_ns <= held_ns]
    if early:
        names = ", ".join(early)
        return Judgement("work-first", (witness,), f"{names} finished while the server still held the response")
    if drained_ns is None:
        return _unproven(_describe_buffered(buffered, sent.size))
    overlapping = [
        f"{task.name} started while the server still held the response, and ended after it had left"
        for task in tasks
        if task.started_ns is not None and task.started_ns <= held_ns and (task.ended_ns or 0) >= drained_ns
    ]
    if overlapping:
        return Judgement("overlapping", (witness,), "; ".join(overlapping))
    if not all(task.started_ns is not None and task.started_ns >= drained_ns for task in tasks):
        return _unproven("a task started or ended in the moment in which the response left the server")
    return Judgement("response-first", (witness,))


def _describe_buffered(buffered: int, size: int | None) -> str:
    """Say what the server still held. Only uvloop before 0.23 holds all of a response that the client reads at once."""
    held = f"after the send, the server still held {buffered} bytes of the response in its buffer"
    if size is None or not size < buffered < UVLOOP_LIMIT:
        return held
    return (
        f"{held}, which is all of it: uvloop before 0.23 does not send before the step of the event loop ends (use "
        "uvloop 0.23 or later, or the option --loop asyncio of uvicorn)"
    )


def _overlaps(sent: SentResponse, task: Task) -> bool:
    """Return whether Starlette had called the task before the last byte: how busy its threads are does not matter.

    A worker does its tasks beside the server, so that no client waits for it.
    """
    if task.ended_ns is None or task.ended_ns <= sent.sent_ns or task.where == "worker":
        return False
    return (called_ns := task.called_ns) is not None and called_ns < sent.sending_ns


def _describe_overlap(sent: SentResponse, task: Task) -> str:
    before, after = ms_between(task.called_ns, sent.sending_ns), ms_between(sent.sent_ns, task.ended_ns)
    waited = ms_between(sent.sent_ns, task.started_ns)
    had, start = "started", f"started {before:.1f} ms before"
    if waited is not None and waited > 0:  # the table shows that it started later: Starlette had called it
        had, start = "been called", f"called {before:.1f} ms before, started {waited:.1f} ms after"
    sentence = f"{task.name} had {had} when the response was sent, and ended after it"
    return f"{sentence} ({start}, ended {after:.1f} ms after)" + (f": {task.detail}" if task.detail else "")


def _lost(trace: Trace, tasks: Sequence[Task]) -> Judgement | None:
    parts = [] if trace.witnesses.gap else _unfinished(tasks)
    parts += [_describe_missing(trace, write) for write in trace.missing if not trace.doubt(write)]
    if not parts:
        return None
    ends = (trace.find("request_finished"), trace.find("request_failed"))
    errors = [end.detail["error"] for end in ends if end and end.detail.get("error")]
    causes = [trace.ended, *errors] if trace.server_gone else [*errors, trace.ended]
    cause = next((cause for cause in causes if cause), None)
    evidence = ("file", "server") if trace.witnesses.whole_journal else ("file",)
    return Judgement("lost", evidence, "; ".join(parts) + (f" ({cause})" if cause else ""))


def _describe_missing(trace: Trace, write: ExpectedWrite) -> str:
    if write.change is not None:
        sent = trace.find("request_sent")
        existed = write.change == "created" and sent is not None and write.file in sent.detail["sizes"]
        return f"{write.name} was not {write.change}" + (": it existed before the request" if existed else "")
    if not write.writes:
        return f"{write.name} never got {write.description}"
    return f"{write.name} got {write.description} only {len(write.writes)} of {write.count} times"


def _why_unknowable(trace: Trace) -> str:
    doubts = [trace.doubt(write) for write in (*trace.missing, *trace.unknowable)]
    if known := dict.fromkeys(doubt for doubt in doubts if doubt):
        return "; ".join(known)
    why = trace.witnesses.gap or "there is no server journal that shows which request wrote it"
    return f"the expected text has no ${{mark}}, and {why}"


def _without_work(trace: Trace) -> Judgement:
    if why := trace.expected.unseen or trace.witnesses.gap:
        return _unproven(why)
    if trace.witnesses.journal and trace.find("request_finished"):
        return _nothing_queued(trace.error)
    missing = "request_finished event" if trace.witnesses.journal else "server journal"
    return _unproven(f"there is no {missing} that shows whether a task was queued")


_PROOFS = {
    "server": "the server's events prove the order",
    "file+server": "the size of the file that the server read after the response proves the order",
    "server+worker": "the clock that server and worker share proves the order",
}


_SHARED = "another request, which writes to the same file, may have been there first"


def is_perhaps_rewritten(trace: Trace) -> bool:
    """Return whether a text was in its file before the tasks started, or took the place of another request's text.

    The file was long enough for it when the response was sent. Either the endpoint wrote it, or a task has overwritten
    what another request had written there.
    """
    sent = trace.find("response_sent")
    if sent is None or not any(write.shared for write in trace.expected.writes):
        return False
    early = _before(trace, sent.detail.get("files")) or _written_by_end_of_send(trace, sent)
    return judge_order(trace).verdict == "response-first" and bool(early)


def _order(trace: Trace, tasks: Sequence[Task], writes: Sequence[Write]) -> Judgement:
    """Decide the order of the response and the work, both of which were seen."""
    sent = trace.find("response_sent")
    server = judge_order(trace)
    if server.verdict == "overlapping" and not trace.witnesses.gap:
        return server  # the most exact statement: the task may write at any time from its start to its end
    outside = _written_after_response(trace, writes)
    seen = _seen_before(trace, sent)
    early = _written_before(trace, sent) or (server if server.verdict == "work-first" else seen)
    if early and not seen and is_perhaps_rewritten(trace):
        return _unproven(f"contradictory evidence: {early.reason}, but its tasks started later; {_SHARED}")
    if early and outside:
        return _unproven(f"contradictory evidence: {early.reason}, but the client had the response before the write")
    if early:
        return early
    if server.verdict == "response-first" and (changed := _changed_before(trace, sent)):
        return _unproven(
            f"contradictory evidence: {' and '.join(changed)} had already been changed when the response was sent, but "
            "the tasks started later; what wrote the text is unknown"
        )
    inside = server.verdict == "response-first" and not trace.witnesses.gap and not _written_by_end_of_send(trace, sent)
    evidence = (("client+file",) if outside else ()) + (server.evidence if inside else ())
    if not evidence and not tasks and _written_after_send(trace, sent):
        evidence = ("file+server",)
    if not evidence:
        outside_gap, server_gap = _why_not_outside(trace, writes), _why_not_inside(trace, server)
        return _unproven(f"no proof from client and file: {outside_gap}; no proof from the server: {server_gap}")
    if outside or not (writes or trace.overwritten):
        return Judgement("response-first", evidence)
    return Judgement("response-first", evidence, f"{_why_not_outside(trace, writes)}; {_PROOFS[evidence[0]]}")


def _why_not_outside(trace: Trace, writes: Sequence[Write]) -> str:
    """Explain why the client and the files do not prove the order."""
    if trace.overwritten:
        return f"another request may have overwritten {trace.overwritten[0].name} before its text was seen"
    if not writes:
        return "no write was seen (one that the script expects of the task would show the order)"
    if any(write.others for write in writes):
        return "another request may have written the same text at the same time"
    if any(write.shared for write in writes):
        return "another request may have created or deleted the same file at the same time"
    if disturbed := [file for file in trace.witnesses.disturbed if any(write.file == file for write in writes)]:
        return f"{PurePath(disturbed[0]).name} was {trace.witnesses.disturbed[disturbed[0]]} during the request"
    if trace.find("response_complete") is None:
        return "the client has no complete response"
    if change := next((write for write in writes if write.change), None):
        return f"when the client had the response, {PurePath(change.file).name} may already have been {change.change}"
    return "when the client had the response, the write was already in the file"


def _written_after_response(trace: Trace, writes: Sequence[Write]) -> bool:
    complete = trace.find("response_complete")
    if complete is None or not writes or trace.overwritten:
        return False
    return all(_is_after(trace, write, complete) for write in writes)


def _is_after(trace: Trace, write: Write, complete: Event) -> bool:
    """Return whether ``write`` was certainly made after the client had read the file sizes."""
    if write.change is not None:
        return not write.shared and is_changed_after(trace, write.file, write.change, complete)
    sizes: Mapping[str, int] = complete.detail["sizes"]
    return write.file not in trace.witnesses.disturbed and write.earliest >= sizes.get(write.file, 0)


def _seen_before(trace: Trace, sent: Event | None) -> Judgement | None:
    """Judge ``work-first`` if a text was read in its file before the response was sent, wherever it stood there."""
    sending_ns = sent.detail.get("sending_ns", 0) if sent else 0
    early = [write for write in trace.writes if 0 < write.read_ns < sending_ns and not write.others]
    if not early:
        return None
    first = min(early, key=lambda write: write.read_ns)
    before = f"{ms_between(first.read_ns, sending_ns):.1f} ms before the response was sent"
    return Judgement("work-first", ("file+server",), f"its text was read in {PurePath(first.file).name} {before}")


def _written_before(trace: Trace, sent: Event | None) -> Judgement | None:
    """Judge ``work-first`` if some of the writes were in the files before the response was sent."""
    early, count = _before(trace, sent.detail.get("files") if sent else None), len(trace.writes)
    if not early:
        return None
    writes = "its write" if count == 1 else f"{len(early)} of its {count} writes"
    verb, done = "was" if len(early) == 1 else "were", "in the file"
    if change := next((write.change for write in early if write.change), None):
        done = "made"
        if count == 1:
            writes, done = PurePath(early[0].file).name, change
    return Judgement("work-first", ("file+server",), f"{writes} {verb} already {done} when the response was sent")


def _changed_before(trace: Trace, sent: Event | None) -> Sequence[str]:
    """Return the names of the files that changed before the last byte was sent, where no place tells what was written.

    Files that other requests write to at the same time are left out: they may have changed them.
    """
    changed = sent.detail.get("changed", ()) if sent else ()
    shared = {write.file for write in trace.expected.writes if write.shared}
    files = dict.fromkeys(write.file for write in trace.writes if write.change is None and write.file not in shared)
    return [PurePath(file).name for file in files if file in changed and file in trace.witnesses.disturbed]


def _written_by_end_of_send(trace: Trace, sent: Event | None) -> bool:
    """Return whether some writes, none of them early, were in the files right after the response was sent.

    If the server still held it then: right after it had left. Without a look at that time some may have been.
    """
    if sent is None or not sent.detail.get("buffered"):
        return bool(_before(trace, sent.detail.get("files_after") if sent else None))
    looks = (event for event in trace.events if event.name == "response_held" and event.detail.get("buffered") == 0)
    drained = next(looks, None)
    if drained is None or "files" not in drained.detail:
        return bool(trace.writes)
    return bool(_before(trace, drained.detail["files"]))


def _written_after_send(trace: Trace, sent: Event | None) -> bool:
    """Return whether all writes are behind the sizes that the server read after the last byte had left it."""
    if sent is None or sent.detail.get("buffered") != 0 or not trace.writes or trace.overwritten:
        return False
    sizes: Mapping[str, int] | None = sent.detail.get("files_after", sent.detail.get("files"))
    return sizes is not None and all(
        write.change is None
        and write.file not in trace.witnesses.disturbed
        and (write.file in sizes or trace.witnesses.all_files)
        and write.earliest >= sizes.get(write.file, 0)
        for write in trace.writes
    )


def _before(trace: Trace, sizes: Mapping[str, int] | None) -> list[Write]:
    """Return the writes that were certainly made before the server read these ``sizes``."""
    return [] if sizes is None else [write for write in trace.writes if _is_before(trace, write, sizes)]


def _is_before(trace: Trace, write: Write, sizes: Mapping[str, int]) -> bool:
    if write.change is not None:
        return not write.shared and is_changed_before(trace, write.file, write.change, sizes)
    return write.file not in trace.witnesses.disturbed and write.latest <= sizes.get(write.file, 0)


def _why_not_inside(trace: Trace, server: Judgement) -> str:
    """Explain why the server does not prove the order. ``server``: the verdict from the server's events alone."""
    if not trace.witnesses.journal:
        return "its journal is not available"
    if trace.witnesses.gap:
        return trace.witnesses.gap
    return server.reason or "a write was made while the server sent the response"
