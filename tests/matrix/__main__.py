"""``python -m tests.matrix``: the core of the suite and ``fastbg demo all`` in each cell, and what came out."""

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
from tests.matrix.cells import chosen
from tests.matrix.pythons import find
from tests.matrix.running import Outcome, build, run

MAX_LINES = 10  # of what failed in one cell


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CELL ...]", help="Which, e.g. '3.14-*'.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Name the cells, and run none.")] = False,
    python: Annotated[list[Path] | None, typer.Option(help="One more Python; may be repeated.")] = None,
    keep: Annotated[Path | None, typer.Option(help="A folder where the environments stay for the next time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of the table.")] = False,
) -> None:
    """Run the core of the suite and `fastbg demo all` on the Pythons found here and on versions of the libraries.

    1 where something failed that is not known to differ, or did not differ where it is known to.
    """
    try:
        cells = chosen(find(python or []), names or [])
    except FastbgError as error:
        report_error(error)
        raise typer.Exit(2) from error
    if listed:
        print(*cells, sep="\n")
        return
    outcomes = []
    with _folder(keep) as folder, tempfile.TemporaryDirectory(prefix="fastbg-wheel-") as wheels:
        wheel = build(Path(wheels))
        for cell in cells:
            outcomes.append(run(cell, wheel, folder / str(cell)))
            print(f"{cell}: {'; '.join([outcomes[-1].core, *told(outcomes[-1])])}", file=sys.stderr)
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
    """A row for each cell: its versions, what passed, what differs, as is known or not, and what failed."""
    shown = Table("cell", "versions", "core", "fastbg demo all", "")
    for outcome in outcomes:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(outcome.versions.items()))
        cells = (str(outcome.cell), versions, outcome.core, "\n".join(told(outcome)), "ok" if outcome.ok else "NO")
        shown.add_row(*(Text(cell) for cell in cells))
    return shown


def told(outcome: Outcome) -> list[str]:
    """What came out of the catalogue, and what failed, in words."""
    lines = [f"{outcome.scenarios} as they say"] if outcome.scenarios else []
    for name, unmet in outcome.differ.items():
        expected = name in outcome.expected
        lines.append(f"{name} differs{', as is known' if expected else ''}")
        lines += [] if expected else [f"  {escape_control(each)}" for each in unmet]
    lines += [f"{name} is known to differ, and does not" for name in sorted(outcome.expected - set(outcome.differ))]
    failed = [escape_control(line) for error in outcome.errors for line in error.splitlines()[-MAX_LINES:]]
    more = len(failed) - MAX_LINES
    return lines + failed[:MAX_LINES] + [f"and {more} lines more, see --json"] * (more > 0)


if __name__ == "__main__":
    typer.run(main)
