"""What the catalogue is known to find different on older versions than it describes: the README's table."""

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.version import Version


@dataclass(frozen=True, slots=True)
class Difference:
    """With a ``package`` ("FastAPI") older than ``before``, the ``scenario`` comes out otherwise: ``what`` happens."""

    scenario: str
    package: str
    before: str
    what: str

    @property
    def row(self) -> str:
        """As the README has it."""
        return f"| `{self.scenario}` | {self.package} before {self.before} | {self.what} |"


DIFFERENCES = (
    Difference(
        "yield-dependency",
        "FastAPI",
        "0.118",
        "a dependency with `yield` is closed before the response, so the task finds its session closed",
    ),
    Difference(
        "yield-dependency",
        "FastAPI",
        "0.121",
        '`Depends` has no `scope="function"`: the remedy that needs it is none there',
    ),
    Difference(
        "middleware",
        "Starlette",
        "1.7",
        "behind a `BaseHTTPMiddleware` the task may start before a slow client has the whole answer",
    ),
)


def known(versions: Mapping[str, str]) -> set[str]:
    """The scenarios that differ with these ``versions``: the name of each package in lower case to its version."""
    return {each.scenario for each in DIFFERENCES if Version(versions[each.package.lower()]) < Version(each.before)}
