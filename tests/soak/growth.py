"""Samples memory, descriptors and threads of processes, and checks whether they grow."""

import os
import re
import statistics
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MIN_SAMPLES = 40  # samples; with fewer, growth is not checked
MEMORY_KIB, MEMORY_SHARE = 2048, 0.05  # allowed growth: the larger of both
MAX_MORE = 2  # allowed growth of the minimum of descriptors or threads


@dataclass(frozen=True, slots=True)
class Sample:
    """The resources of a process. ``memory``: resident, in KiB."""

    memory: int
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison of the second and the last quarter of the time. ``most``: the limit for the last one.

    For memory it is the median. For descriptors and threads it is the minimum: they vary with the load, and a leak
    raises the minimum.
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
    """Return the current resources of a process, or None if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        memory, threads = (re.search(rf"^{key}:\s+(\d+)", status, re.M) for key in ("VmRSS", "Threads"))
        if memory and threads:
            return Sample(int(memory[1]), descriptors, int(threads[1]))
    return None


def children(pid: int) -> list[int]:
    """Return the ids of the child processes, sorted."""
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # only the names are needed
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split())
    return sorted(found)


class Growth:
    """The samples of several processes by name."""

    def __init__(self) -> None:
        self.samples: defaultdict[str, list[Sample]] = defaultdict(list)

    def add_samples(self, processes: dict[str, int]) -> None:
        """Add a sample of each process (name to id)."""
        for name, pid in processes.items():
            if (current := sample(pid)) is not None:
                self.samples[name].append(current)

    def rows(self) -> list[Row]:
        """Compare early and late samples of each process with at least `MIN_SAMPLES` samples."""
        return [
            row for name, samples in self.samples.items() if len(samples) >= MIN_SAMPLES for row in _rows(name, samples)
        ]


def _rows(name: str, samples: list[Sample]) -> list[Row]:
    quarter = len(samples) // 4
    rows = []
    for what in ("memory", "descriptors", "threads"):
        values = [getattr(each, what) for each in samples]
        of = statistics.median if what == "memory" else min
        early, late = of(values[quarter : 2 * quarter]), of(values[-quarter:])
        room = max(MEMORY_KIB, MEMORY_SHARE * early) if what == "memory" else MAX_MORE
        rows.append(Row(name, what, early, late, early + room))
    return rows
