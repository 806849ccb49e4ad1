"""The result as JUnit XML for CI servers: one test case per request of the script.

Times are in seconds. A repeated request is one test case. It fails if any repetition was not as expected.

The format is Jenkins' ``junit-10.xsd``, as in pytest's ``xunit2``.
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from fastbg.evidence.results import Group, RequestResult, RunResult, percentile
from fastbg.report.files import write
from fastbg.report.numbers import milliseconds
from fastbg.report.reasons import reasons_of
from fastbg.report.style import SHARES
from fastbg.report.timelines import last_ms, plain_timelines
from fastbg.text import escape_control

WIDTH = 80  # columns of a timeline
MESSAGE_LIMIT = 500  # characters; the body of a failure holds the whole text
SUITE = "fastbg demo"


def save_junit(runs: Sequence[RunResult], path: Path) -> None:
    """Write ``runs`` to ``path``. Raises `FastbgError`."""
    write(path, junit(runs), "the JUnit report")


def junit(runs: Sequence[RunResult]) -> str:
    """Return an XML document with one suite per run. A server that ended early is a test case with an error."""
    root = ET.Element("testsuites", {"name": "fastbg"})
    root.extend(_suite(run, SUITE if len(runs) == 1 else f"{SUITE} {run.name}") for run in runs)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, 0)) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', 0)) for suite in root):.6f}")
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(run: RunResult, title: str) -> ET.Element:
    requests = run.representatives
    failures, errors = sum(bool(request.unmet) for request in requests), int(bool(run.stopped))
    sums = {
        "tests": str(len(requests) + errors),
        "failures": str(failures),
        "errors": str(errors),
        "time": f"{sum(last_ms(request) for request in requests) / 1e3:.6f}",
    }
    suite = ET.Element("testsuite", {"name": escape_control(title), "skipped": "0", **sums})
    properties = ET.SubElement(suite, "properties")
    values = {**run.versions, "server": run.server, "requests": str(run.total), "unmet": str(run.unmet)}
    for name, value in values.items():
        ET.SubElement(properties, "property", name=escape_control(name), value=escape_control(value))
    seen: Counter[str] = Counter()
    groups = {(group.part, group.name): group for group in run.groups}
    for request in requests:
        name = request.full_name
        seen[name] += 1  # viewers merge two cases with the same name
        group = groups[request.part, request.trace.name]
        suite.append(_case(run, request, group, name if seen[name] == 1 else f"{name} ({seen[name]})"))
    if run.stopped:
        case = ET.SubElement(suite, "testcase", classname=escape_control(run.server), name="server", time="0")
        error = ET.SubElement(case, "error", type="stopped", message=escape_control(run.stopped))
        error.text = _lines([run.stopped, *run.stderr])
    return suite


def _case(run: RunResult, request: RequestResult, group: Group, name: str) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=escape_control(run.server),
        name=escape_control(name),
        time=f"{last_ms(request) / 1e3:.6f}",
    )
    unmet = [f"{sentence} ({sentence.witness})" for sentence in request.unmet]
    line = plain_timelines([request], width=WIDTH)
    if unmet:
        if group.count > 1:
            unmet = [f"{group.unmet} of {group.count} requests were not as expected, this one included", *unmet]
        message = "; ".join(unmet)
        failure = ET.SubElement(
            case, "failure", type=request.judgement.verdict, message=escape_control(message)[:MESSAGE_LIMIT]
        )
        why = [request.judgement.reason] if request.judgement.reason else []
        failure.text = _lines([*unmet, *reasons_of(request), *why, "", *line])
    ET.SubElement(case, "system-out").text = _lines([*_repetitions(group), *_evidence(run, request), "", *line])
    return case


def _repetitions(group: Group) -> Iterable[str]:
    """Yield verdicts and times of a repeated request."""
    if group.count == 1:
        return
    yield f"{group.count} requests: {', '.join(f'{count} {verdict}' for verdict, count in group.verdicts.items())}"
    for name, times in (("response", group.responses_ms), ("write", group.writes_ms), ("lead", group.leads_ms)):
        if times:
            ascending = sorted(times)
            yield f"{name}: " + ", ".join(f"{share} {_ms(percentile(ascending, at))}" for share, at in SHARES)
    yield "one of these requests:"


def _evidence(run: RunResult, request: RequestResult) -> Iterable[str]:
    """Yield the evidence of a request, one line each. Times count from the moment when it was sent."""
    trace, judgement = request.trace, request.judgement
    yield f"{trace.request.method} {trace.request.url}"
    yield f"verdict: {judgement.verdict}, expected: {trace.expected.verdict}"
    yield f"evidence: {', '.join(judgement.evidence) or 'none'}"
    if judgement.reason:
        yield f"reason: {judgement.reason}"
    yield f"status: {'none' if trace.status is None else trace.status}, response: {_ms(request.response_ms)}"
    for task in trace.tasks:
        started, ended = request.ms(task.started_ns), request.ms(task.ended_ns)
        when = "not started" if started is None else f"{_ms(started)} to {'-' if ended is None else _ms(ended)}"
        parts = (task.state, task.where, when, task.error or task.reason)
        yield f"task {task.name}: {', '.join(part for part in parts if part)}"
    for seen in trace.writes:
        yield f"write to {run.name_of(seen.file)}: {_ms(request.ms(seen.t_ns))}, {seen.change or seen.text}"


def _ms(value: float | None) -> str:
    return "not seen" if value is None else f"{milliseconds(value)} ms"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(map(escape_control, lines))
