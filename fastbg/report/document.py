"""The result as one JSON document, a stable format for other programs."""

from collections.abc import Sequence
from typing import Any

from fastbg.evidence.blocked_places import BlockedPlace
from fastbg.evidence.distribution import Distribution
from fastbg.evidence.history import JournalSummary
from fastbg.evidence.processes import RecordedProcess
from fastbg.evidence.recorded_request import RecordedRequest
from fastbg.evidence.results import Group, RequestResult, RunResult, percentile
from fastbg.evidence.tasks import Task
from fastbg.evidence.trace import Write
from fastbg.report.moments import utc
from fastbg.report.moral import moral


def document(runs: Sequence[RunResult]) -> dict[str, Any]:
    """Return runs as plain values: a single run directly, several under ``runs``.

    Each ``*_ms`` counts from the moment when the client sent that request; null if not seen.
    """
    versions = dict(runs[0].versions)
    head = {"fastbg": versions.pop("fastbg"), "versions": versions, "ok": all(run.ok for run in runs)}
    if len(runs) == 1:
        return head | _run(runs[0])
    return head | {"runs": [{"ok": run.ok} | _run(run) for run in runs]}


def _run(run: RunResult) -> dict[str, Any]:
    return {
        "script": run.name,
        "server": run.server,
        "stopped": run.stopped or None,
        "stderr": list(run.stderr),
        "title": run.title or None,
        "moral": moral(run),
        "blocked": [_blocked(place) for place in run.blocked],
        "remarks": list(run.remarks),
        "requests": [_request(run, request) for request in run.requests],
        "groups": [_group(group) for group in run.groups],
        "summary": {
            "requests": run.total,
            "unmet": run.unmet,
            "seconds": _rounded(run.seconds),
            **{verdict.replace("-", "_"): count for verdict, count in run.counts.items()},
            "response_ms": _percentiles(run.times_ms("responses_ms")),
            "write_ms": _percentiles(run.times_ms("writes_ms")),
            "lead_ms": _percentiles(run.times_ms("leads_ms")),
        },
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "part": group.part or None,
        "name": group.name,
        "requests": group.count,
        "unmet": group.unmet,
        **{verdict.replace("-", "_"): count for verdict, count in group.verdicts.items()},
        "response_ms": _percentiles(sorted(group.responses_ms)),
        "write_ms": _percentiles(sorted(group.writes_ms)),
        "lead_ms": _percentiles(sorted(group.leads_ms)),
    }


def _percentiles(ascending: Sequence[float]) -> dict[str, float | None]:
    shares = {"min": 0.0, "p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: _rounded(percentile(ascending, share)) for name, share in shares.items()}


def _request(run: RunResult, result: RequestResult) -> dict[str, Any]:
    trace, request, body = result.trace, result.trace.request, result.trace.body
    return {
        "part": request.part or None,
        "name": request.name,
        "method": request.method,
        "url": request.url,
        "request_id": request.request_id,
        "x_request_id": trace.x_request_id,
        "status": trace.status,
        "body": body.json if body.json is not None or body.text == "null" else body.text,
        "body_bytes": body.length,
        "body_cut": body.cut,
        "location": trace.location or None,
        "verdict": result.judgement.verdict,
        "expected": trace.expected.verdict,
        "evidence": list(result.judgement.evidence),
        "reason": result.judgement.reason,
        "traceback": trace.traceback,
        "unmet": [str(unmet) for unmet in result.unmet],
        "response_ms": _rounded(result.response_ms),
        "write_ms": _rounded(result.write_ms),
        "lead_ms": _rounded(result.lead_ms),
        "tasks": [_task(result, task) for task in trace.tasks],
        "writes": [_write(run, result, write) for write in trace.writes],
    }


def _task(result: RequestResult | RecordedRequest, task: Task) -> dict[str, Any]:
    return {
        "task": task.name,
        "state": task.state,
        "started_ms": _rounded(result.ms(task.started_ns)),
        "finished_ms": _rounded(result.ms(task.ended_ns)),
        "where": task.where,
        "waited_ms": _rounded(task.waited_ms),
        "blocked_ms": _rounded(task.blocked_ms),
        "error": task.error,
        "traceback": task.traceback,
        "reason": task.reason,
        "detail": task.detail,
    }


def _write(run: RunResult, result: RequestResult, write: Write) -> dict[str, Any]:
    return {
        "file": run.name_of(write.file),
        "text": write.text,
        "change": write.change,
        "seen_ms": _rounded(result.ms(write.t_ns)),
    }


def history_document(history: JournalSummary, versions: dict[str, str]) -> dict[str, Any]:
    """Return journals as plain values. Each ``*_ms`` counts from the moment when the server received that request."""
    return {
        "fastbg": versions["fastbg"],
        "journal": history.journal or None,
        "journals": [_journal(each) for each in history.journals or (history,)],
        "events": history.events,
        "lost_events": history.lost,
        "foreign_lines": history.foreign,
        "stray_events": history.strays,
        "skipped_parts": history.skipped_parts,
        "cut_processes": history.cut_processes,
        "boots": len(history.boots),
        "processes": history.processes,
        "unfinished_processes": [_process(process) for process in history.left],
        "blocked": [_blocked(place) for place in history.blocked],
        "requests": [_recorded(request) for request in history.last],
        "summary": {
            "requests": history.requests,
            "unfinished": history.unfinished,
            **_counts(history),
            "response_ms": _journal_percentiles(history.responses),
            "task_ms": _journal_percentiles(history.works),
        },
    }


def _process(process: RecordedProcess) -> dict[str, Any]:
    return {
        "host": process.host,
        "boot": process.boot,
        "pid": process.pid,
        "server": process.server,
        "state": process.state,
        "requests": process.requests,
        "tasks": process.tasks,
    }


def _blocked(place: BlockedPlace) -> dict[str, Any]:
    return {"place": place.place, "path": place.path, "ms": _rounded(place.ms), "count": place.count}


def _journal(history: JournalSummary) -> dict[str, Any]:
    return {
        "path": history.journal,
        "hosts": sorted(history.hosts),
        "processes": history.processes,
        "requests": history.requests,
        "unfinished": history.unfinished,
        **_counts(history),
    }


def _counts(history: JournalSummary) -> dict[str, int]:
    return {verdict.replace("-", "_"): count for verdict, count in history.counts.items()}


def _recorded(request: RecordedRequest) -> dict[str, Any]:
    received = utc(request.wall_ns)
    return {
        "method": request.method,
        "path": request.path,
        "request_id": request.request_id,
        "x_request_id": request.x_request_id,
        "journal": request.journal,
        "host": request.host,
        "boot": request.boot,
        "pid": request.pid,
        "received": None if received is None else received.isoformat(),
        "status": request.server.status,
        "verdict": request.judgement.verdict,
        "evidence": list(request.judgement.evidence),
        "reason": request.judgement.reason,
        "response_ms": _rounded(request.response_ms),
        "done_ms": _rounded(request.done_ms),
        "tasks": [_task(request, task) for task in request.tasks],
        "more_tasks": request.more_tasks,
    }


def _journal_percentiles(times: Distribution) -> dict[str, float | None]:
    shares = {"min": 0.0, "p50": 0.5, "p95": 0.95, "max": 1.0}
    return {name: _rounded(times.percentile_ms(share)) for name, share in shares.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
