"""The unmet expectations of runs, one line each, and as annotations of a GitHub workflow."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastbg.evidence.results import RequestResult, RunResult
from fastbg.report.reasons import reasons_of
from fastbg.text import escape_control

MAX_REQUESTS = 20  # of a run


@dataclass(frozen=True, slots=True)
class Failure:
    """An unmet expectation. ``name``: part and name of the request. ``why``: one sentence. ``more``: lines below it."""

    script: str | None
    line: int | None
    name: str
    why: str
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"{self.script}:{self.line}: " if self.script else ""
        return escape_control(f"{place}{self.name}: {self.why}")


def failure_lines(runs: Iterable[RunResult]) -> list[str]:
    """Return a line per failure, such as "shop.toml:12: create order: status: expected 200, was 500 (client)"."""
    lines: list[str] = []
    for run in runs:
        failures, more = _failures(run)
        lines += map(str, failures)
        lines += [f"and {more} more"] if more else []
    return lines


def annotations(runs: Iterable[RunResult], workspace: Path) -> list[str]:
    """Return a command of GitHub's workflows per failure, which shows it at its line. ``workspace``: of the clone.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
    """
    return [command for run in runs for command in (*_stopped(run), *_annotated(_failures(run)[0], workspace))]


def _failures(run: RunResult) -> tuple[list[Failure], int]:
    """Return different failures, and the number of other requests that were not as expected."""
    known: dict[str, Failure] = {}
    listed = 0
    for result in run.requests:
        found = {str(failure): failure for failure in _of_request(result)}
        if listed < MAX_REQUESTS and not found.keys() <= known.keys():
            known |= found
            listed += 1
    return list(known.values()), run.unmet - listed


def _of_request(result: RequestResult) -> Iterator[Failure]:
    request = result.trace.request
    name = result.full_name
    for number, unmet in enumerate(result.unmet):
        more = () if number else tuple(reasons_of(result))
        line = unmet.line(request)  # None for a draft, which is in no file
        yield Failure(None if line is None else request.script, line, name, f"{unmet} ({unmet.witness})", more)


def _stopped(run: RunResult) -> Iterator[str]:
    if run.stopped:
        yield f"::error title={_property(run.server)}::{_data(escape_control(run.stopped))}"


def _annotated(failures: Sequence[Failure], workspace: Path) -> Iterator[str]:
    for failure in failures:
        properties = {"title": failure.name}
        if failure.script and Path(failure.script).is_file():  # not a built-in script
            path = Path(failure.script).absolute()
            shown = path.relative_to(workspace) if path.is_relative_to(workspace) else path
            properties = {"file": str(shown), "line": str(failure.line), **properties}
        given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
        message = "\n".join([escape_control(failure.why), *failure.more])
        yield f"::error {given}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(escape_control(text)).replace(":", "%3A").replace(",", "%2C")
