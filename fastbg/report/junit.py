"""The result as JUnit XML, for the viewers of CI servers: one test case a request. Times are in seconds.

The format is the one that Jenkins' xUnit plugin publishes as ``junit-10.xsd``, which pytest's ``xunit2`` follows too.
"""

import io
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from fastbg.report.console import milliseconds
from fastbg.report.files import write
from fastbg.report.timelines import last_ms, timelines
from fastbg.results import RequestResult, RunResult
from fastbg.text import safe

WIDTH = 80  # columns of a time line
MESSAGE_LIMIT = 500  # characters; the body of a failure has all of it
SUITE = "fastbg demo"

_NO_XML = {0xFFFE: r"\ufffe", 0xFFFF: r"\uffff"}  # beside control characters: https://www.w3.org/TR/xml/#charsets


def save_junit(run: RunResult, path: Path) -> None:
    """Write ``run`` to ``path``. Raises `FastbgError`."""
    write(path, junit(run), "the JUnit report")


def junit(run: RunResult) -> str:
    """``run`` as a document. A server that ended early is a test case of its own, with an error."""
    failures, errors = sum(bool(request.unmet) for request in run.requests), int(bool(run.stopped))
    sums = {
        "tests": str(len(run.requests) + errors),
        "failures": str(failures),
        "errors": str(errors),
        "time": f"{sum(last_ms(request) for request in run.requests) / 1e3:.6f}",
    }
    root = ET.Element("testsuites", {"name": "fastbg", **sums})
    suite = ET.SubElement(root, "testsuite", {"name": SUITE, "skipped": "0", **sums})
    properties = ET.SubElement(suite, "properties")
    for name, value in {**run.versions, "server": run.server}.items():
        ET.SubElement(properties, "property", name=_text(name), value=_text(value))
    seen: Counter[str] = Counter()
    for request in run.requests:
        name = request.name
        seen[name] += 1  # viewers take two cases of one name for the same
        suite.append(_case(run, request, name if seen[name] == 1 else f"{name} ({seen[name]})"))
    if run.stopped:
        case = ET.SubElement(suite, "testcase", classname=_text(run.server), name="server", time="0")
        error = ET.SubElement(case, "error", type="stopped", message=_text(run.stopped))
        error.text = _lines([run.stopped, *run.stderr])
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(run: RunResult, request: RequestResult, name: str) -> ET.Element:
    case = ET.Element("testcase", classname=_text(run.server), name=_text(name), time=f"{last_ms(request) / 1e3:.6f}")
    unmet, line = [str(sentence) for sentence in request.unmet], _timeline(request)
    if unmet:
        message = "; ".join(unmet)
        failure = ET.SubElement(case, "failure", type=request.judgement.verdict, message=_text(message)[:MESSAGE_LIMIT])
        failure.text = _lines([*unmet, *([request.judgement.reason] if request.judgement.reason else []), "", *line])
    ET.SubElement(case, "system-out").text = _lines([*_evidence(run, request), "", *line])
    return case


def _evidence(run: RunResult, request: RequestResult) -> Iterable[str]:
    """What was seen of a request, a line each; times from the moment it was sent."""
    trace, judgement = request.trace, request.judgement
    yield f"{trace.method} {trace.url}"
    yield f"verdict: {judgement.verdict}, expected: {trace.expected.verdict}"
    yield f"evidence: {', '.join(judgement.evidence) or 'none'}"
    if judgement.reason:
        yield f"reason: {judgement.reason}"
    yield f"status: {'none' if trace.status is None else trace.status}, response: {_ms(request.response_ms)}"
    for task in trace.tasks:
        when = f"{_ms(request.ms(task.started_ns))} to {_ms(request.ms(task.ended_ns))}"
        why = task.error or task.reason
        yield f"task {task.name}: {task.state}, {task.where or 'nowhere'}, {when}" + (f", {why}" if why else "")
    for seen in trace.writes:
        yield f"write to {run.name_of(seen.file)}: {_ms(request.ms(seen.t_ns))}, {seen.text}"


def _timeline(request: RequestResult) -> list[str]:
    """The bar of a request in plain characters."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(timelines([request], encoding="utf-8"))
    return [line.rstrip() for line in captured.get().splitlines()]


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{milliseconds(value)} ms"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(map(_text, lines))


def _text(text: str) -> str:
    """``text`` without the characters that XML 1.0 has no way to write."""
    return safe(text).translate(_NO_XML)
