"""The cells of the matrix: a Python, and what is installed there beside the project."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from fastbg.errors import FastbgError
from tests.matrix.pythons import Python
from tests.servers import ROOT

LOWEST = ROOT / "tests" / "lowest.txt"
# Around each version that DIFFERENCES names, and some between.
FASTAPI = (
    *("0.116.0", "0.117.1", "0.118.0", "0.120.4", "0.121.0", "0.128.0"),
    *("0.135.0", "0.140.0", "0.150.0", "0.160.0", "0.165.0"),
)
STARLETTE = ("1.6.0", "1.7.0")


@dataclass(frozen=True, slots=True)
class Cell:
    """``name``: of the cell without its Python. ``packages``: what pip is to install together with the project.

    ``constraints``: a file for pip. ``over``: what is installed afterwards, beyond the project's own limits.
    ``core``: whether the core of the suite is run, or the catalogue only.
    """

    python: Python
    name: str
    packages: tuple[str, ...] = ()
    constraints: Path | None = None
    over: tuple[str, ...] = ()
    core: bool = True

    def __str__(self) -> str:
        return f"{self.python.name}-{self.name}"


def cells(pythons: Sequence[Python]) -> Iterator[Cell]:
    """All of them: each Python with the newest and the lowest versions, the first one with those between."""
    for python in pythons:
        yield Cell(python, "newest")
        yield Cell(python, "uvloop", packages=("uvicorn[standard]",))
        yield Cell(python, "lowest", constraints=LOWEST)
    for python in pythons[:1]:
        yield Cell(python, "typer", over=("typer",))
        for version in FASTAPI:
            yield Cell(python, f"fastapi-{version}", packages=(f"fastapi=={version}",), core=False)
        for version in STARLETTE:
            yield Cell(python, f"starlette-{version}", packages=(f"starlette=={version}",), core=False)


def chosen(pythons: Sequence[Python], patterns: Iterable[str]) -> list[Cell]:
    """The cells that one of the ``patterns`` fits ("3.14-*"), all without any. Raises `FastbgError` for one without."""
    every = list(cells(pythons))
    fitting = {pattern: [cell for cell in every if fnmatch(str(cell), pattern)] for pattern in patterns}
    for pattern, found in fitting.items():
        if not found:
            raise FastbgError("there is no such cell", where=pattern, remedy="see which there are with --list")
    return [cell for cell in every if not fitting or any(cell in found for found in fitting.values())]
