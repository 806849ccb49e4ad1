"""What the catalogue is known to find different on older versions than it describes, as the page on versions has it."""

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.version import Version


@dataclass(frozen=True, slots=True)
class Difference:
    """A ``scenario`` with a different result for a ``package`` ("FastAPI") from ``since`` on and older than ``before``.

    ``what``: the different result.
    """

    scenario: str
    package: str
    since: str
    before: str
    what: str

    def holds(self, versions: Mapping[str, str]) -> bool:
        """Whether the difference occurs with these ``versions``: lower-case package names to versions."""
        return Version(self.since) <= Version(versions[self.package.lower()]) < Version(self.before)

    @property
    def row(self) -> str:
        """As the page has it."""
        return f"| `{self.scenario}` | {self.package} {self.since} and later, before {self.before} | {self.what} |"


DIFFERENCES = (
    Difference(
        "yield-dependency",
        "FastAPI",
        "0.108",
        "0.118",
        "a dependency with `yield` is closed before the response: a task finds the session of its request closed",
    ),
    Difference(
        "yield-dependency",
        "FastAPI",
        "0.118",
        "0.121",
        "it is closed after the tasks, and there is no `scope` to change that: a task that opens a session of its own "
        "waits for ever where its request holds the last one of the pool",
    ),
    Difference(
        "after-yield",
        "FastAPI",
        "0.108",
        "0.118",
        "the code after `yield` runs before the response is sent, and the task that it adds runs",
    ),
    Difference(
        "after-yield",
        "FastAPI",
        "0.118",
        "0.121",
        "there is no `scope`: a task that is added after the `yield` is always dropped",
    ),
    Difference(
        "download-and-delete",
        "Starlette",
        "0.29",
        "0.39",
        "`FileResponse` ignores `Range`: it answers 200 with the whole file, and its task runs",
    ),
    Difference(
        "middleware",
        "Starlette",
        "0.29",
        "1.7",
        "behind a `BaseHTTPMiddleware` the task starts before a slow client has the whole answer",
    ),
)


def known_differences(versions: Mapping[str, str]) -> set[str]:
    """Return the scenarios that differ with these ``versions``."""
    return {each.scenario for each in DIFFERENCES if each.holds(versions)}
