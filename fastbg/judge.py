"""From what the witnesses saw to a verdict. Pure: no files, no sockets, no clock.

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

from fastbg.events import Event, Verdict
from fastbg.tasks import Task
from fastbg.timeline import ExpectedWrite, Trace, Write


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, the witnesses that it rests on, and why it is not another one."""

    verdict: Verdict
    evidence: tuple[str, ...] = ()
    reason: str = ""


def judge(trace: Trace) -> Judgement:
    """The verdict of one request from what was seen of it so far."""
    failed = trace.find("request_failed")
    if not trace.find("request_sent"):
        return Judgement("unproven", (), f"not sent: {failed.detail['error']}" if failed else trace.ended)
    tasks, writes = trace.tasks, trace.writes
    for state in ("failed", "dropped"):
        hit = [task for task in tasks if task.state == state]
        if hit:
            return Judgement(state, ("server",), "; ".join(_told(task) for task in hit))
    lost = _lost(trace, tasks)
    if lost:
        return Judgement("lost", _witnesses(trace), lost)
    if failed:
        return Judgement("unproven", (), f"no response: {failed.detail['error']}")
    if trace.unknowable:
        return Judgement("unproven", (), _why_unknowable(trace))
    if not tasks and not writes:
        return _without_work(trace)
    return _order(trace, tasks, writes)


def _told(task: Task) -> str:
    return f"{task.name} {task.state}: {task.error or task.reason or 'no reason given'}"


def _witnesses(trace: Trace) -> tuple[str, ...]:
    return ("file", "server") if trace.journal and not trace.gap else ("file",)


def _lost(trace: Trace, tasks: Sequence[Task]) -> str:
    """What was due and did not come, or an empty text."""
    ends = (trace.find("request_finished"), trace.find("request_failed"))
    because = trace.ended or next((end.detail["error"] for end in ends if end and end.detail.get("error")), "")
    left = [task for task in tasks if task.state in ("queued", "started") and not trace.gap]
    parts = [f"{task.name} {task.state}, never finished" for task in left]
    parts += [f"{PurePath(write.file).name} never got {_lacking(write)}" for write in trace.missing]
    return "; ".join(parts) + (f" ({because})" if because else "") if parts else ""


def _lacking(write: ExpectedWrite) -> str:
    return write.told if write.count == 1 else f"{write.told} {write.count} times, but {len(write.writes)}"


def _why_unknowable(trace: Trace) -> str:
    disturbed = sorted({PurePath(write.file).name for write in trace.unknowable if write.file in trace.disturbed})
    if disturbed:
        return f"{', '.join(disturbed)} was truncated or replaced meanwhile"
    if trace.gap:
        return f"the text carries no mark, and {trace.gap}"
    return "the text carries no mark, and no server's journal tells whose write it is"


def _without_work(trace: Trace) -> Judgement:
    if trace.unseen:
        return Judgement("unproven", (), trace.unseen)
    if trace.gap:
        return Judgement("unproven", (), trace.gap)
    if trace.journal and trace.find("request_finished"):
        return Judgement("no-work", ("server",), "nothing was queued")
    return Judgement("unproven", (), "no server's journal tells whether a task was queued")


def _order(trace: Trace, tasks: Sequence[Task], writes: Sequence[Write]) -> Judgement:
    """What came first, where both the response and all of the work were seen."""
    outside = _after_in_clients_eyes(trace, writes)
    sent = trace.find("response_sent")
    server = "server+worker" if any(task.where == "worker" for task in tasks) else "server"
    for witness, early in (("file+server", _written_before(trace, sent)), (server, _done_before(sent, tasks))):
        if early and outside:
            return Judgement("unproven", (), f"the witnesses disagree: {early}, yet the client had the response before")
        if early:
            return Judgement("work-first", (witness,), early)
    inside = not trace.gap and _after_in_servers_order(sent, tasks) and not _written_by_then(trace, sent)
    evidence = (("client+file",) if outside else ()) + ((server,) if inside else ())
    if not evidence:
        return Judgement("unproven", (), _why_unproven(trace, sent, tasks, _why_not_outside(writes)))
    reason = "" if outside or not writes else f"{_why_not_outside(writes)}: proved from the {_ORDERS[server]}"
    return Judgement("response-first", evidence, reason)


_ORDERS = {"server": "server's order", "server+worker": "clock that server and worker share"}


def _why_not_outside(writes: Sequence[Write]) -> str:
    if any(write.others for write in writes):
        return "another request may have written the same text meanwhile"
    return "too close to call from outside"


def _after_in_clients_eyes(trace: Trace, writes: Sequence[Write]) -> bool:
    complete = trace.find("response_complete")
    if complete is None or not writes:
        return False
    sizes: Mapping[str, int] = complete.detail["sizes"]
    return all(write.file not in trace.disturbed and write.earliest >= sizes[write.file] for write in writes)


def _after_in_servers_order(sent: Event | None, tasks: Sequence[Task]) -> bool:
    if sent is None or not tasks or sent.detail.get("buffered") != 0:
        return False
    return all(task.started_ns is not None and task.started_ns > sent.t_ns for task in tasks)


def _written_before(trace: Trace, sent: Event | None) -> str:
    """How much stood in the files before the response was sent, or an empty text."""
    early = _below(trace, sent.detail.get("files") if sent else None)
    return f"{early} of {len(trace.writes)} writes stood in the file when the response was sent" if early else ""


def _written_by_then(trace: Trace, sent: Event | None) -> int:
    """How many writes stood in the files when the response had been sent."""
    return _below(trace, (sent.detail.get("files_after") or sent.detail.get("files")) if sent else None)


def _below(trace: Trace, sizes: Mapping[str, int] | None) -> int:
    """How many writes certainly lie within these sizes."""
    known = {file: size for file, size in (sizes or {}).items() if file not in trace.disturbed}
    return sum(write.latest <= known.get(write.file, 0) for write in trace.writes)


def _done_before(sent: Event | None, tasks: Sequence[Task]) -> str:
    """Which tasks had ended before the last byte of the response was handed over, or an empty text."""
    sending_ns = sent.detail.get("sending_ns", 0) if sent else 0
    done = [task.name for task in tasks if task.ended_ns is not None and task.ended_ns <= sending_ns]
    return f"{', '.join(done)} finished before the response was sent" if done else ""


def _why_unproven(trace: Trace, sent: Event | None, tasks: Sequence[Task], outside: str) -> str:
    if not trace.journal:
        return f"{outside}, and no server's journal to tell the order"
    if trace.gap:
        return f"{outside}, and {trace.gap}"
    if sent is None:
        return "the server's journal does not tell when the response was sent"
    if not tasks:
        return f"{outside}, and what wrote was no background task that the server knows of"
    if any(task.elsewhere for task in tasks):
        return f"{outside}, and a worker under another boot has a clock of its own"
    if sent.detail.get("buffered") != 0:
        return f"{outside}, and the server still held a part of the response when the task started"
    if _written_by_then(trace, sent):
        return f"{outside}, and something was written while the server sent the response"
    return "the witnesses cannot tell the order"
