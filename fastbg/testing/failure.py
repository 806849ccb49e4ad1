"""Describes the requests of a failed test as plain text of at most 80 columns."""

import io
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from time import sleep

from rich.console import Console

from fastbg.clock import monotonic, monotonic_ns
from fastbg.evidence.results import RequestResult
from fastbg.evidence.tasks import Task
from fastbg.evidence.trace import Trace
from fastbg.report.reasons import exceptions
from fastbg.report.timelines import CLIENT_LEGEND, timelines
from fastbg.testing.server import Server
from fastbg.text import escape_control

COLUMNS = 80
MAX_REQUESTS = 20
MAX_LINES = 15
EXCEPTION_S = 1.0  # a server writes the exception to its journal right after the response
PAUSE_S = 0.005

WHERE_TEXTS = {"thread": "in a thread", "loop": "in the event loop", "worker": "in a worker"}
OTHER_LOOP = (
    "This object was first used in another one: in the loop of a test, a fixture or TestClient, or at import. Use it"
    " only in the app, or create it in the app's lifespan."
)
_OTHER_LOOP = re.compile(r"attached to a different loop|bound to a different (event )?loop|Event loop is closed")

LEGEND = replace(CLIENT_LEGEND, write=None)


class _ResultAtFailure(RequestResult):
    """A request whose bar extends to the moment of the failure if the request was not finished."""

    @property
    def is_over(self) -> bool:
        return self.response_ms is not None and None not in [ended for _, ended in self.spans_ms]


def describe_failure(traces: Sequence[Trace], server: Server) -> str:
    """Return the time lines of a test's last requests, their tasks and exceptions, and the server's last output."""
    _read_exceptions(traces, server)
    sent = [_ResultAtFailure.of(trace) for trace in traces if trace.find("request_sent")]
    results = sent[-MAX_REQUESTS:]
    lines = [f"{len(sent) - len(results)} earlier requests are not shown"] if len(sent) > len(results) else []
    if results:
        lines += [_time_lines(results), ""]
    for result in results:
        lines += _describe_request(result, server)
    if reason := server.stop_reason():
        lines.append(f"{escape_control(server.name)}: {escape_control(reason)}")
    if written := server.last_lines()[-MAX_LINES:]:
        lines += ["last output of the server:", *(f"  {escape_control(line)}" for line in written)]
    return "\n".join(lines)


def _read_exceptions(traces: Sequence[Trace], server: Server) -> None:
    end = monotonic() + EXCEPTION_S
    while monotonic() < end and any((t.status or 0) >= 500 and not t.find("request_finished") for t in traces):
        sleep(PAUSE_S)
        server.journal.read()


def _time_lines(results: Sequence[RequestResult]) -> str:
    encoding = getattr(sys.__stdout__, "encoding", None) or "ascii"  # of pytest's output, even while it captures
    buffer = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="")
    console = Console(file=buffer, width=COLUMNS, color_system=None, highlight=False, markup=False, emoji=False)
    console.print(timelines(results, encoding=encoding, now_ns=monotonic_ns(), legend=LEGEND))
    buffer.seek(0)
    return "\n".join(line.rstrip() for line in buffer.read().splitlines())


def _describe_request(result: RequestResult, server: Server) -> list[str]:
    trace, judgement = result.trace, result.judgement
    status = "no response" if trace.status is None else str(trace.status)
    verdict = f"{judgement.verdict} ({judgement.reason})" if judgement.reason else judgement.verdict
    if judgement.verdict == "lost" and not trace.ended and not trace.find("request_finished"):
        verdict = "not finished when the test failed"  # the test did not wait for it
    lines = [f"{trace.name}  {status}  {verdict}"]
    lines += [f"  {task.name}  {_describe_task(task, result)}" for task in trace.tasks]
    lines += [f"  {line}" for line in exceptions(trace)]
    if any(_OTHER_LOOP.search(error) for error in (trace.error, *(task.error for task in trace.tasks)) if error):
        lines.append(f"  {server.event_loop}. {OTHER_LOOP}")
    return [part for line in lines for part in textwrap.wrap(escape_control(line), COLUMNS, subsequent_indent="    ")]


def _describe_task(task: Task, result: RequestResult) -> str:
    started, ended = result.ms(task.started_ns), result.ms(task.ended_ns)
    parts: list[str] = [task.state]
    if task.where:
        parts.append(WHERE_TEXTS.get(task.where, task.where))
    if started is not None:
        parts.append(f"from {started:.1f} ms" + ("" if ended is None else f" to {ended:.1f} ms"))
    parts += [part for part in (task.error or task.reason, task.detail) if part]
    return "  ".join(parts)
