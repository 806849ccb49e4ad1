"""``python -m tests.matrix``: runs the core tests and ``fastbg demo all`` in each cell, and shows the results."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastbg.errors import FastbgError
from fastbg.output import report_error
from fastbg.text import escape_control
from tests.matrix.cells import select
from tests.matrix.pythons import find_pythons
from tests.matrix.running import Outcome, build, run

MAX_LINES = 10  # of failures per cell


def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL ...]", help="Cells to run, such as '3.14-*'. Default: all.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="List the cells without running them.")] = False,
    python: Annotated[list[Path] | None, typer.Option(help="Path of another Python. Repeatable.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep the environments in this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document instead of a table.")] = False,
) -> None:
    """Run the core tests and `fastbg demo all` with all installed Pythons and many versions of the libraries.

    Exit code 1: an unknown difference or a failure, or a known difference that did not occur.
    """
    try:
        cells = select(find_pythons(python or []), names or [])
    except FastbgError as error:
        report_error(error)
        raise typer.Exit(2) from error
    if list_only:
        print(*cells, sep="\n")
        return
    outcomes = []
    with _folder(keep) as folder, tempfile.TemporaryDirectory(prefix="fastbg-wheel-") as wheels:
        wheel = build(Path(wheels))
        for cell in cells:
            outcomes.append(run(cell, wheel, folder / str(cell)))
            print(f"{cell}: {'; '.join([outcomes[-1].core, *describe(outcomes[-1])])}", file=sys.stderr)
    if as_json:
        print(json.dumps([outcome.plain() for outcome in outcomes], indent=2))
    else:
        Console().print(table(outcomes))
    raise typer.Exit(not all(outcome.ok for outcome in outcomes))


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="fastbg-matrix-") as folder:
        yield Path(folder)


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return a table with one row per cell: versions, core tests, scenarios, and failures."""
    shown = Table("cell", "versions", "core", "fastbg demo all", "")
    for outcome in outcomes:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(outcome.versions.items()))
        cells = (str(outcome.cell), versions, outcome.core, "\n".join(describe(outcome)), "ok" if outcome.ok else "NO")
        shown.add_row(*(Text(cell) for cell in cells))
    return shown


def describe(outcome: Outcome) -> list[str]:
    """Describe the results of the catalogue and the failures."""
    lines = [f"{outcome.scenarios} as expected"] if outcome.scenarios else []
    for name, unmet in outcome.differ.items():
        expected = name in outcome.expected
        lines.append(f"{name} differs{', as known' if expected else ''}")
        lines += [] if expected else [f"  {escape_control(each)}" for each in unmet]
    lines += [f"{name} is known to differ, but does not" for name in sorted(outcome.expected - set(outcome.differ))]
    failed = [escape_control(line) for error in outcome.errors for line in error.splitlines()[-MAX_LINES:]]
    more = len(failed) - MAX_LINES
    return lines + failed[:MAX_LINES] + [f"{more} more lines, see --json"] * (more > 0)


if __name__ == "__main__":
    typer.run(main)
