"""The pictures in the README and on its pages: drawn from runs that are kept, so that a test can draw them again.

``python -m tests.pictures [NAME ...]`` runs the scripts anew, keeps what was seen as JSON and draws the pictures.
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
NAMES = {"demo": DEFAULT, "blocking-async": "blocking-async"}  # of each picture, and of its script
DATA = Path(".fastbg")
WORK_S = 0.5
OF_MACHINE = ("boot", "pid", "wall_ns")


def run(name: str, folder: Path) -> dict[str, Any]:
    """What was seen in a run of the script of that picture, as plain values; ``folder`` is empty."""
    source = script(NAMES[name], os.environ)
    wish = DemoOptions(folder / DATA, WORK_S)
    options = RunOptions(wish.directory, wish.limit_s, base=wish.base, environment=os.environ)
    result = asyncio.run(Runner(source, options, None).run())
    first_ns = min(request.trace.events[0].t_ns for request in result.requests)
    seen = {
        "versions": result.versions,
        "server": result.server,
        "work": WORK_S if result.server == EXAMPLE else None,
        "remarks": result.remarks,
        "requests": [_plain(request.trace, first_ns) for request in result.requests],
    }
    plain: dict[str, Any] = json.loads(json.dumps(seen, ensure_ascii=False).replace(f"{folder}/", ""))
    return plain


def _plain(trace: Trace, first_ns: int) -> dict[str, Any]:
    """Times count from the first request of the run."""
    events = [asdict(event) for event in sorted(trace.events, key=lambda event: event.t_ns)]
    writes = [[asdict(write) for write in expected.writes] for expected in trace.expected.writes]
    for seen in (*events, *(write for group in writes for write in group)):
        seen["t_ns"] -= first_ns
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


def result_of(name: str, seen: dict[str, Any]) -> RunResult:
    """The result that `run` saw, judged anew, with the words that the script has now."""
    source = script(NAMES[name], os.environ)
    paths = RunPaths.of(source, DATA, {"dir": str(DATA)})
    sent = iter(seen["requests"])
    results: list[RequestResult] = []
    groups: dict[tuple[str, str], Group] = {}
    for part in source.script.all_parts:
        for number in range(len(part.requests)):
            results.append(RequestResult.of(_trace(RequestTemplate(source, part, number, paths), next(sent))))
            add_to_groups(groups, results[-1])
    return RunResult(
        versions=seen["versions"],
        name=source.name.removesuffix(".toml"),
        server=seen["server"],
        directory=DATA,
        journal=DATA / "journal.jsonl",
        files=tuple(paths.files.values()),
        work=seen["work"],
        requests=tuple(results),
        groups=tuple(groups.values()),
        folder=paths.folder,
        title=source.script.title,
        about=source.script.about,
        links=tuple(source.script.links),
        remarks=tuple(seen["remarks"]),
    )


def _trace(template: RequestTemplate, seen: dict[str, Any]) -> Trace:
    known = {"mark": seen["request_id"], "dir": str(DATA)}
    trace = template.trace(known, url="", journal=True, name=template.request.name)
    trace.answered, trace.body = True, ReceivedBody(seen["text"], seen["body"])
    trace.events = [Event(**event) for event in seen["events"]]
    for expected, writes in zip(trace.expected.writes, seen["writes"], strict=True):
        expected.complete = True
        expected.writes = [Write(**write | {"others": tuple(map(tuple, write["others"]))}) for write in writes]
    return trace
