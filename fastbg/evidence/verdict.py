"""From what the witnesses saw to a verdict. Pure: no files, no sockets, no clock.

`judge` weighs all witnesses of a request that fastbg sent, `judge_recorded` the server alone. The rules on what the
server says of tasks and of their order are the same for both.

These proofs tell what came first:

``client+file``
    When the client had the whole response it looked at the size of each followed file. A write that lies
    at or behind that size was made later.
``server``
    The server handed the last byte of the response to the kernel, then started the tasks: two moments of
    one process. No write stood in its file right after that byte. (Or a task had ended before it was handed over.)
``server+worker``
    The server handed the last byte of the response to the kernel, and a worker, another process under the
    same boot of the same host, started the task later: two times of one clock, the kernel's monotonic one.
    Of a worker under another boot nothing is concluded.
``file+server``
    Right before the server sent the last byte of the response it looked at the sizes. A write that lies
    wholly below was made earlier.

Where no proof holds, the verdict is ``unproven``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Self

from fastbg.events import Event, Verdict
from fastbg.evidence.tasks import Task
from fastbg.evidence.trace import ExpectedWrite, Trace, Write

UNFINISHED = "the journal ends before that"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the witnesses that it rests on, and why it is not another one."""

    verdict: Verdict
    evidence: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SentResponse:
    """The server handed the last byte of a response to the kernel between two monotonic times of its own.

    ``buffered``: bytes of the response that the server still held at ``sent_ns``, None if it could not tell.
    """

    sending_ns: int
    sent_ns: int
    buffered: int | None

    @classmethod
    def of(cls, event: Event) -> Self:
        """Read it from the journal's event ``response_sent``."""
        return cls(event.detail.get("sending_ns", 0), event.t_ns, event.detail.get("buffered"))


@dataclass(slots=True)
class ServerRecord:
    """What a server recorded about one request, apart from its tasks.

    ``status``: of a response that was sent, or that the client did not wait for (``client_gone``). ``finished``: the
    app's call ended; ``error``: what it raised. ``flaw``: why the events prove nothing.
    """

    status: int | None = None
    sent: SentResponse | None = None
    client_gone: bool = False
    finished: bool = False
    error: str | None = None
    flaw: str | None = None


def judge(trace: Trace) -> Judgement:
    """Decide the verdict of one request from what was seen of it so far."""
    failed = trace.find("request_failed")
    if not trace.find("request_sent"):
        return _unproven(f"not sent: {failed.detail['error']}" if failed else trace.ended)
    tasks, writes = trace.tasks, trace.writes
    if broken := _failed_or_dropped(tasks):
        return broken
    if lost := _lost(trace, tasks):
        return lost
    if failed:
        return _unproven(f"no response: {failed.detail['error']}")
    if trace.unknowable:
        return _unproven(_why_unknowable(trace))
    if not tasks and not writes:
        return _without_work(trace)
    return _order(trace, tasks, writes)


def judge_recorded(record: ServerRecord, tasks: Sequence[Task]) -> Judgement:
    """Decide the verdict of a request from what its server recorded."""
    if record.flaw:
        return _unproven(record.flaw)
    if broken := _failed_or_dropped(tasks):
        return broken
    if unfinished := _unfinished(tasks):
        return Judgement("lost", ("server",), f"{'; '.join(unfinished)} ({record.error or UNFINISHED})")
    if tasks:
        return _server_order(record.sent, tasks, client_gone=record.client_gone)
    if record.finished:
        return _nothing_queued(record.error)
    return _unproven(f"was not done: {UNFINISHED}")


def _unproven(reason: str | None) -> Judgement:
    return Judgement("unproven", (), reason)


def _failed_or_dropped(tasks: Sequence[Task]) -> Judgement | None:
    for state in ("failed", "dropped"):
        hit = [f"{task.name} {state}: {_why(task)}" for task in tasks if task.state == state]
        if hit:
            return Judgement(state, ("server",), "; ".join(hit))
    return None


def _why(task: Task) -> str:
    return task.error or task.reason or "no reason given"


def _unfinished(tasks: Sequence[Task]) -> list[str]:
    return [f"{task.name} {task.state}, never finished" for task in tasks if task.is_open]


def _nothing_queued(error: str | None) -> Judgement:
    raised = f"; the app raised {error}" if error else ""
    return Judgement("no-work", ("server",), f"nothing was queued{raised}")


def _server_order(sent: SentResponse | None, tasks: Sequence[Task], *, client_gone: bool) -> Judgement:
    """What came first in the server, all of whose ``tasks`` have finished."""
    if sent is None:
        gone = "the client had gone before the response was sent"
        return _unproven(gone if client_gone else "the journal tells of no response")
    witness = "server+worker" if any(task.where == "worker" for task in tasks) else "server"
    early = [task.name for task in tasks if task.ended_ns is not None and task.ended_ns <= sent.sending_ns]
    if early:
        return Judgement("work-first", (witness,), f"{', '.join(early)} finished before the response was sent")
    if not tasks:
        return _unproven("what wrote was no background task that the server knows of")
    if any(task.elsewhere for task in tasks):
        return _unproven("a worker under another boot ran it, whose clock is not compared with the server's")
    if not all(task.started_ns is not None and task.started_ns > sent.sent_ns for task in tasks):
        return _unproven("a task started before the response was sent, and ended after it")
    if sent.buffered is None:
        return _unproven("the server could not tell whether all of the response had left")
    if sent.buffered:
        return _unproven("the server still held a part of the response when the task started")
    return Judgement("response-first", (witness,))


def _lost(trace: Trace, tasks: Sequence[Task]) -> Judgement | None:
    """What was due and did not come."""
    parts = [] if trace.witnesses.gap else _unfinished(tasks)
    parts += [f"{PurePath(write.file).name} never got {_lacking(write)}" for write in trace.missing]
    if not parts:
        return None
    ends = (trace.find("request_finished"), trace.find("request_failed"))
    because = trace.ended or next((end.detail["error"] for end in ends if end and end.detail.get("error")), None)
    evidence = ("file", "server") if trace.witnesses.whole_journal else ("file",)
    return Judgement("lost", evidence, "; ".join(parts) + (f" ({because})" if because else ""))


def _lacking(write: ExpectedWrite) -> str:
    return write.told if write.count == 1 else f"{write.told} {write.count} times, but {len(write.writes)}"


def _why_unknowable(trace: Trace) -> str:
    disturbed = {write.file for write in trace.unknowable} & trace.witnesses.disturbed
    if disturbed:
        names = sorted({PurePath(file).name for file in disturbed})
        return f"{', '.join(names)} was truncated or replaced meanwhile"
    if trace.witnesses.gap:
        return f"the text carries no mark, and {trace.witnesses.gap}"
    return "the text carries no mark, and no server's journal tells whose write it is"


def _without_work(trace: Trace) -> Judgement:
    if why := trace.expected.unseen or trace.witnesses.gap:
        return _unproven(why)
    finished = trace.find("request_finished")
    if trace.witnesses.journal and finished:
        return _nothing_queued(finished.detail.get("error"))
    return _unproven("no server's journal tells whether a task was queued")


_ORDERS = {"server": "server's order", "server+worker": "clock that server and worker share"}


def _order(trace: Trace, tasks: Sequence[Task], writes: Sequence[Write]) -> Judgement:
    """What came first, where both the response and all of the work were seen."""
    sent = trace.find("response_sent")
    gone = trace.find("response_lost") is not None
    server = _server_order(SentResponse.of(sent) if sent else None, tasks, client_gone=gone)
    outside = _after_in_clients_eyes(trace, writes)
    early = _written_before(trace, sent) or (server if server.verdict == "work-first" else None)
    if early and outside:
        return _unproven(f"the witnesses disagree: {early.reason}, yet the client had the response before")
    if early:
        return early
    inside = server.verdict == "response-first" and not trace.witnesses.gap and not _written_by_then(trace, sent)
    evidence = (("client+file",) if outside else ()) + (server.evidence if inside else ())
    if not evidence:
        return _unproven(f"{_why_not_outside(writes)}, and {_why_not_inside(trace, server)}")
    if outside or not writes:
        return Judgement("response-first", evidence)
    reason = f"{_why_not_outside(writes)}: proved from the {_ORDERS[evidence[0]]}"
    return Judgement("response-first", evidence, reason)


def _why_not_outside(writes: Sequence[Write]) -> str:
    if any(write.others for write in writes):
        return "another request may have written the same text meanwhile"
    return "too close to call from outside"


def _after_in_clients_eyes(trace: Trace, writes: Sequence[Write]) -> bool:
    complete = trace.find("response_complete")
    if complete is None or not writes:
        return False
    sizes: Mapping[str, int] = complete.detail["sizes"]
    return all(write.file not in trace.witnesses.disturbed and write.earliest >= sizes[write.file] for write in writes)


def _written_before(trace: Trace, sent: Event | None) -> Judgement | None:
    """Whether some of the writes stood in the files before the response was sent."""
    early = _below(trace, sent.detail.get("files") if sent else None)
    if not early:
        return None
    reason = f"{early} of {len(trace.writes)} writes stood in the file when the response was sent"
    return Judgement("work-first", ("file+server",), reason)


def _written_by_then(trace: Trace, sent: Event | None) -> int:
    """How many writes stood in the files when the response had been sent."""
    return _below(trace, (sent.detail.get("files_after") or sent.detail.get("files")) if sent else None)


def _below(trace: Trace, sizes: Mapping[str, int] | None) -> int:
    """How many writes certainly lie within these sizes."""
    known = {file: size for file, size in (sizes or {}).items() if file not in trace.witnesses.disturbed}
    return sum(write.latest <= known.get(write.file, 0) for write in trace.writes)


def _why_not_inside(trace: Trace, server: Judgement) -> str:
    """Why the server proves no order; ``server``: what it says alone."""
    if not trace.witnesses.journal:
        return "no server's journal to tell the order"
    if trace.witnesses.gap:
        return trace.witnesses.gap
    return server.reason or "something was written while the server sent the response"
