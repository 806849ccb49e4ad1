"""The pictures in the README and on its pages: drawn from runs that are kept, so that a test can draw them again.

``python -m tests.pictures [NAME ...]`` runs the scripts again, records the runs as JSON and draws the pictures.
"""

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastbg.commands.demo_options import DemoOptions
from fastbg.events import Event
from fastbg.evidence.results import Group, RequestResult, RunResult, add_to_groups
from fastbg.evidence.trace import ReceivedBody, Trace, Write
from fastbg.run.options import RunOptions
from fastbg.run.prepare import RequestTemplate, RunPaths
from fastbg.run.runner import Runner
from fastbg.scripting.builtin import DEFAULT, script
from fastbg.server.settings import EXAMPLE

FOLDER = Path(__file__).parent
NAMES = {"demo": DEFAULT, "blocking-async": "blocking-async"}  # name of the picture: name of its script
DATA = Path(".fastbg")
WORK_S = 0.5
OF_MACHINE = ("host", "boot", "pid", "wall_ns")


def run(name: str, folder: Path) -> dict[str, Any]:
    """Run the script of a picture in the empty ``folder``. Return the recorded run as plain values."""
    source = script(NAMES[name], os.environ)
    demo_options = DemoOptions(folder / DATA, WORK_S)
    options = RunOptions(demo_options.directory, demo_options.limit_s, base=demo_options.base, environment=os.environ)
    result = asyncio.run(Runner(source, options, None).run())
    first_ns = min(request.trace.events[0].t_ns for request in result.requests)
    recorded = {
        "versions": result.versions,
        "server": result.server,
        "work": WORK_S if result.server == EXAMPLE else None,
        "remarks": result.remarks,
        "requests": [_plain(request.trace, first_ns) for request in result.requests],
    }
    plain: dict[str, Any] = json.loads(json.dumps(recorded, ensure_ascii=False).replace(f"{folder}/", ""))
    return plain


def _plain(trace: Trace, first_ns: int) -> dict[str, Any]:
    """Convert a trace to plain values, with times relative to the first request of the run."""
    events = [event._asdict() for event in sorted(trace.events, key=lambda event: event.t_ns)]
    writes = [[asdict(write) for write in expected.writes] for expected in trace.expected.writes]
    for item in (*events, *(write for group in writes for write in group)):
        item["t_ns"] -= first_ns
    for event in events:
        event["detail"] = {key: value for key, value in event["detail"].items() if key not in OF_MACHINE}
        if "sending_ns" in event["detail"]:
            event["detail"]["sending_ns"] -= first_ns
    return {
        "request_id": trace.request_id,
        "text": trace.body.text,
        "body": trace.body.json,
        "events": events,
        "writes": writes,
    }


def result_of(name: str, recorded: dict[str, Any]) -> RunResult:
    """Rebuild the result from a recorded run, with new verdicts and the current texts of the script."""
    source = script(NAMES[name], os.environ)
    paths = RunPaths.of(source, DATA, {"dir": str(DATA)})
    sent = iter(recorded["requests"])
    results: list[RequestResult] = []
    groups: dict[tuple[str, str], Group] = {}
    for part in source.script.all_parts:
        for number in range(len(part.requests)):
            results.append(RequestResult.of(_trace(RequestTemplate(source, part, number, paths), next(sent))))
            add_to_groups(groups, results[-1])
    return RunResult(
        versions=recorded["versions"],
        name=source.name.removesuffix(".toml"),
        server=recorded["server"],
        directory=DATA,
        journal=DATA / "journal.jsonl",
        files=tuple(paths.files.values()),
        work=recorded["work"],
        requests=tuple(results),
        groups=tuple(groups.values()),
        folder=paths.folder,
        title=source.script.title,
        about=source.script.about,
        moral=source.script.moral,
        links=tuple(source.script.links),
        remarks=tuple(recorded["remarks"]),
    )


def _trace(template: RequestTemplate, recorded: dict[str, Any]) -> Trace:
    known = {"mark": recorded["request_id"], "dir": str(DATA)}
    trace = template.trace(known, url=template.outgoing(known).path, journal=True, name=template.request.name)
    trace.answered, trace.body = True, ReceivedBody(recorded["text"], recorded["body"])
    trace.events = [Event(**event) for event in recorded["events"]]
    for expected, writes in zip(trace.expected.writes, recorded["writes"], strict=True):
        expected.complete = True
        expected.writes = [Write(**write | {"others": tuple(map(tuple, write["others"]))}) for write in writes]
    return trace
