"""The cells of the matrix: a Python, and the packages to install with the project."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from fastbg.errors import FastbgError
from tests.matrix.pythons import Python
from tests.support.servers import ROOT

LOWEST = ROOT / "tests" / "lowest.txt"
# Around each version that DIFFERENCES or the documentation names, and some between.
FASTAPI = (
    *("0.110.3", "0.112.2", "0.115.0", "0.115.2", "0.117.1", "0.118.0", "0.120.4", "0.121.0", "0.128.0"),
    *("0.135.0", "0.140.0", "0.150.0", "0.160.0", "0.165.0"),
)
STARLETTE = ("1.6.0", "1.7.0")
# Each alone, with the newest versions of all others. With the core tests, as the catalogue does not cover these.
OTHERS = (
    *("uvicorn==0.30.0", "uvicorn==0.32.1", "uvicorn==0.35.0", "uvicorn==0.40.0", "uvicorn==0.50.2", "uvicorn==0.51.0"),
    *("rich==13.0.0", "rich==13.5.2", "rich==13.9.4", "rich==14.0.0"),
    *("typer==0.16.0", "typer==0.20.0", "typer==0.28.0"),
    *("httpx==0.24.0", "httpx==0.27.2"),
    *("pydantic==2.5.3", "pydantic==2.8.2", "pydantic==2.9.0"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the matrix. ``name``: without its Python. ``packages``: installed together with the project.

    ``constraints``: a constraints file for pip. ``core``: whether to run the core tests, not only the catalogue.
    """

    python: Python
    name: str
    packages: tuple[str, ...] = ()
    constraints: Path | None = None
    core: bool = True

    def __str__(self) -> str:
        return f"{self.python.name}-{self.name}"


def cells(pythons: Sequence[Python]) -> Iterator[Cell]:
    """Yield all cells: each Python with the newest and lowest versions, the first Python also with those between."""
    for python in pythons:
        yield Cell(python, "newest")
        yield Cell(python, "uvloop", packages=("uvicorn[standard]",))
        yield Cell(python, "lowest", constraints=LOWEST)
    for python in pythons[:1]:
        for pin in OTHERS:
            yield Cell(python, pin.replace("==", "-"), packages=(pin,))
        for version in FASTAPI:
            yield Cell(python, f"fastapi-{version}", packages=(f"fastapi=={version}",), core=False)
        for version in STARLETTE:
            yield Cell(python, f"starlette-{version}", packages=(f"starlette=={version}",), core=False)


def select(pythons: Sequence[Python], patterns: Iterable[str]) -> list[Cell]:
    """Return the cells that match ``patterns`` ("3.14-*"; default: all). Raises `FastbgError` if one has no match."""
    every = list(cells(pythons))
    fitting = {pattern: [cell for cell in every if fnmatch(str(cell), pattern)] for pattern in patterns}
    for pattern, found in fitting.items():
        if not found:
            raise FastbgError("no cell matches", where=pattern, remedy="show all cells with --list")
    return [cell for cell in every if not fitting or any(cell in found for found in fitting.values())]
