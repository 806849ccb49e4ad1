"""Memory, descriptors and threads of processes over time, as the kernel counts them, and whether they grow."""

import os
import re
import statistics
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ENOUGH = 40  # samples, below which nothing is concluded
MEMORY_KIB, MEMORY_SHARE = 2048, 0.05  # growth that is none: the larger of both
OTHERS = 2  # descriptors or threads that the least may have more


@dataclass(frozen=True, slots=True)
class Sample:
    """``memory``: resident, in KiB."""

    memory: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Row:
    """How the second and the last quarter of the time compare. ``most``: what the last one may have at most.

    Of memory the median, of descriptors and threads the least: these come and go with the load, and a leak lifts the
    least.
    """

    process: str
    what: str
    early: float
    late: float
    most: float

    @property
    def ok(self) -> bool:
        return self.late <= self.most


def sample(pid: int) -> Sample | None:
    """What the process has now; None where it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        memory, threads = (re.search(rf"^{key}:\s+(\d+)", status, re.M) for key in ("VmRSS", "Threads"))
        if memory and threads:
            return Sample(int(memory[1]), descriptors, int(threads[1]))
    return None


def children(pid: int) -> list[int]:
    """The processes that this one has started, in that order."""
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # names are all that is wanted
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split())
    return sorted(found)


class Growth:
    """Samples of several processes, each under its name."""

    def __init__(self) -> None:
        self.samples: defaultdict[str, list[Sample]] = defaultdict(list)

    def look(self, processes: dict[str, int]) -> None:
        """Note what each process (name to id) has now."""
        for name, pid in processes.items():
            if (seen := sample(pid)) is not None:
                self.samples[name].append(seen)

    def rows(self) -> list[Row]:
        """How much each process had early and late; nothing of one that was not seen often enough."""
        return [row for name, seen in self.samples.items() if len(seen) >= ENOUGH for row in _rows(name, seen)]


def _rows(name: str, samples: list[Sample]) -> list[Row]:
    quarter = len(samples) // 4
    rows = []
    for what in ("memory", "descriptors", "threads"):
        values = [getattr(each, what) for each in samples]
        of = statistics.median if what == "memory" else min
        early, late = of(values[quarter : 2 * quarter]), of(values[-quarter:])
        room = max(MEMORY_KIB, MEMORY_SHARE * early) if what == "memory" else OTHERS
        rows.append(Row(name, what, early, late, early + room))
    return rows
