"""The report of a run for people: timelines, writes, a table, a conclusion, and the paths of the evidence."""

from collections.abc import Iterable, Mapping, Sequence
from shlex import quote

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from fastbg.evidence.results import RunResult
from fastbg.report.details import details
from fastbg.report.moral import moral
from fastbg.report.sentences import conclusion, evidence, waiting
from fastbg.report.style import STYLES, unmet_mark
from fastbg.report.tables import distributions, verdicts, written
from fastbg.report.timelines import timelines
from fastbg.text import escape_control

DEFAULT = "default"
MAX_WIDTH = 100  # columns of a table: on a wide terminal, its numbers stay near the names
WORDS = (
    "Times count from the moment when a request was sent. lead: from the response to the first expected write. "
    "The words below a verdict are its evidence. Explained by: fastbg explain WORD"
)


def live(run: RunResult, *, encoding: str, now_ns: int) -> RenderableType:
    """Return the view of a run in progress at the monotonic time ``now_ns``."""
    bars = timelines(run.representatives, encoding=encoding, now_ns=now_ns)
    return Group(*heading(run), Text(), bars, Text(), written(run, last=8), waiting(run, now_ns=now_ns))


def final(run: RunResult, *, encoding: str, brief: bool = False) -> RenderableType:
    """Return the report of a finished run; it ends with the picture and the moral.

    ``brief``: without tables, for one run of several.
    """
    if not run.requests and (run.interrupted or run.quit):
        return Group(*heading(run), *(details(run, encoding=encoding) if run.quit else [conclusion(run)]))
    tables: list[RenderableType] = []
    if not brief:
        table = distributions(run, encoding=encoding) if run.is_load else verdicts(run, encoding=encoding)
        writes = written(run, last=8 if run.is_load else None)
        tables = [Text(), writes, Text(), Constrain(table, MAX_WIDTH), Text(WORDS, style="dim")]
    conclusions = [conclusion(run)] if (last := moral(run)) is not None else []
    if run.moral and run.ok and last is None:
        why = "The moral of the script is not shown: this run did not measure all of its values."
        conclusions.append(Text(why, style="dim"))
    return Group(
        *heading(run),
        *tables,
        *details(run, encoding=encoding),
        *explanation(run),
        *([] if brief else [Text(), *conclusions, evidence(run)]),
        Text(),
        timelines(run.representatives, encoding=encoding),
        Text(),
        Text(last or conclusion(run).plain, style="bold"),
        *([Rule(style="dim")] if brief else []),
    )


def scripts(titles: Mapping[str, Sequence[tuple[str, str]]]) -> RenderableType:
    """Return names and titles of scripts, by group."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for number, (group, rows) in enumerate(titles.items()):
        if number:
            table.add_row()
        table.add_row(Text(escape_control(group), style="bold"))
        for name, title in rows:
            table.add_row(Text(f"  {escape_control(name)}", style="cyan"), Text(escape_control(title)))
    return table


def overview(runs: Sequence[RunResult], *, encoding: str, more: int = 0) -> RenderableType:
    """Return a table with one row per run, and a conclusion. ``more``: number of scripts that did not run."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    table.add_column("script", no_wrap=True)
    table.add_column("as expected")
    table.add_column("requests", justify="right")
    table.add_column("verdicts")
    for run in runs:
        verdicts = Text(", ").join(
            Text(f"{count} {verdict}", style=STYLES[verdict]) for verdict, count in run.counts.items() if count
        )
        problem = run.stopped or f"{run.unmet} not"
        no = escape_control(f"{unmet_mark(encoding)} {problem}")
        check = Text("yes", style="green") if run.ok else Text(no, style="red")
        table.add_row(Text(escape_control(run.name)), check, str(run.total), verdicts)
    unexpected = [run.name for run in runs if run.unmet or (run.stopped and not run.interrupted)]
    versions = ", ".join(f"{name} {runs[0].versions[name]}" for name in ("fastapi", "starlette", "uvicorn"))
    sentence = f"Not as expected: {', '.join(unexpected)}." if unexpected else ""
    if runs[-1].interrupted:
        sentence += f" Interrupted in {runs[-1].name}: {more} more scripts did not run."
    elif not unexpected:
        sentence = f"All {len(runs)} scripts were as expected."
    return Group(
        table, Text(), Text(escape_control(sentence.strip()), style="bold"), Text(escape_control(versions), style="dim")
    )


def heading(run: RunResult) -> Iterable[Text]:
    if run.warning:
        yield Text(escape_control(run.warning), style="yellow")
    yield Text.assemble((escape_control(command(run)), "bold"), "  ", escape_control(served(run)))
    if run.title:
        yield Text(escape_control(run.title), style="bold")


def command(run: RunResult) -> str:
    """Return the command of a run, as a shell understands it."""
    name = run.name if run.name.startswith("--") else quote(run.name)  # a draft has an option as its name
    return "fastbg demo" if run.name == DEFAULT else f"fastbg demo {name}"


def served(run: RunResult) -> str:
    """Return the app or the URL, and how long its tasks work."""
    return run.server if run.work is None else f"{run.server}, {run.work:g} s of work in each task"


def explanation(run: RunResult) -> Iterable[Text]:
    """Yield the explanation of the script, and its links."""
    if run.about:
        yield Text()
        yield Text(escape_control(run.about))
    yield from (Text(escape_control(link), style="dim") for link in run.links)
