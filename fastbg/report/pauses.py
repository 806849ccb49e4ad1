"""What ``--step`` prints at a pause: the plan, the next requests, their source, and the keys."""

import os
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastbg.report.code import code, toml
from fastbg.run.stepping import Pause, Step
from fastbg.scripting.model import Request
from fastbg.scripting.reader import Source
from fastbg.scripting.source_files import app_code
from fastbg.text import escape_control


def plan(pause: Pause) -> Text:
    """Return what the run is going to do."""
    parts = list(dict.fromkeys(step.part.name for step in pause.steps if step.part.name))
    named = f" (parts: {', '.join(parts)})" if len(parts) > 1 else ""
    requests = _number(sum(step.requests for step in pause.steps), "request")
    steps = _number(len(pause.steps), "step")
    return Text(escape_control(f"This run sends {requests} in {steps}{named}, and pauses before each step."))


def announcement(pause: Pause) -> Iterable[RenderableType]:
    """Yield the part if it is a new one, and the requests of the next step."""
    step = pause.next
    if step is None:
        yield Text(f"{len(pause.steps)}/{len(pause.steps)}  All steps are done.", style="bold")
        return
    name = escape_control(step.part.name)
    if step.part.about and (pause.last is None or pause.last.part is not step.part):
        yield Text.assemble((name, "bold"), ": ", escape_control(step.part.about))
    first, *others = (template.request for template in step.templates)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row(
        Text(f"{pause.number + 1}/{len(pause.steps)}", style="bold"),
        Group(*_request(f"{name}: " if name else "", first), *(line for each in others for line in _request("", each))),
    )
    yield table


def _request(before: str, request: Request) -> Iterable[Text]:
    """Yield the name and the request line, then the description."""
    times = f", {request.repeat} times" if request.repeat > 1 else ""
    yield Text.assemble(
        (escape_control(before + request.name), "bold"),
        "  ",
        (escape_control(f"{request.method} {request.path}{times}"), "cyan"),
    )
    if request.about:
        yield Text(escape_control(request.about))


def keys(pause: Pause) -> Text:
    """Return the keys that the pause knows."""
    parts = [
        "Press Enter to send" if pause.next else "Press Enter for the report",
        *(["r to repeat the last step"] if pause.last else []),
        "s for the source",
        *(["q to quit"] if pause.next else []),
    ]
    return Text(", ".join(parts), style="dim")


def source_of(source: Source, step: Step) -> RenderableType:
    """Return the code that the part of ``step`` marks, and the TOML of its requests."""
    app = app_code(source, [step.part], {"dir": ".", **{f"env.{name}": value for name, value in os.environ.items()}})
    listings = [code(file, step.part.name) for file in app.files if step.part.name in file.parts]
    lines = source.text.split("\n")
    start, last = (step.templates[index].line for index in (0, -1))
    end = next((number for number in range(last, len(lines)) if lines[number].startswith("[[")), len(lines))
    requests = toml("\n".join(lines[start - 1 : end]).rstrip())
    return Group(*(part for listing in listings for part in (Text(), listing)), Text(), requests, Text())


def _number(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
