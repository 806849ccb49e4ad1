"""The result as one JSON document: the stable form that other programs rely on."""

from typing import Any

from fastbg.results import RequestResult, RunResult, percentile
from fastbg.timeline import Task, Write


def document(run: RunResult) -> dict[str, Any]:
    """``run`` as plain values. Every ``*_ms`` counts from the moment the client sent that request, null for unseen."""
    versions = dict(run.versions)
    leads = run.leads_ms
    return {
        "fastbg": versions.pop("fastbg"),
        "versions": versions,
        "ok": run.ok,
        "server": run.server,
        "stopped": run.stopped or None,
        "stderr": list(run.stderr),
        "requests": [_request(run, request) for request in run.requests],
        "summary": {
            "requests": len(run.requests),
            **{verdict.replace("-", "_"): count for verdict, count in run.counts.items()},
            "lead_ms": {
                "min": _rounded(percentile(leads, 0)),
                "p50": _rounded(percentile(leads, 0.5)),
                "p95": _rounded(percentile(leads, 0.95)),
                "max": _rounded(percentile(leads, 1)),
            },
        },
    }


def _request(run: RunResult, result: RequestResult) -> dict[str, Any]:
    trace = result.trace
    return {
        "name": trace.name,
        "method": trace.method,
        "url": trace.url,
        "request_id": trace.request_id,
        "status": trace.status,
        "body": trace.body if trace.body is not None or trace.text == "null" else trace.text,
        "verdict": result.judgement.verdict,
        "expected": trace.expected.verdict,
        "evidence": list(result.judgement.evidence),
        "reason": result.judgement.reason or None,
        "unmet": list(result.unmet),
        "response_ms": _rounded(result.response_ms),
        "write_ms": _rounded(result.write_ms),
        "lead_ms": _rounded(result.lead_ms),
        "tasks": [_task(result, task) for task in trace.tasks],
        "writes": [_write(run, result, write) for write in trace.writes],
    }


def _task(result: RequestResult, task: Task) -> dict[str, Any]:
    return {
        "task": task.name,
        "state": task.state,
        "started_ms": _rounded(result.ms(task.started_ns)),
        "finished_ms": _rounded(result.ms(task.ended_ns)),
        "where": task.where,
        "error": task.error,
        "reason": task.reason,
    }


def _write(run: RunResult, result: RequestResult, write: Write) -> dict[str, Any]:
    return {"file": run.name_of(write.file), "text": write.text, "seen_ms": _rounded(result.ms(write.t_ns))}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
