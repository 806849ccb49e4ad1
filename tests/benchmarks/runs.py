"""Times whole processes in turn, so that whatever else the machine does meets all of them alike."""

import atexit
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache

Timed = Callable[[], float]


@cache
def environment() -> dict[str, str]:
    """The environment, with a place for compiled modules, as an installed package has it."""
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    folder = tempfile.mkdtemp(prefix="fastbg-bytecode-")
    atexit.register(shutil.rmtree, folder)
    return plain | {"PYTHONPYCACHEPREFIX": folder}


def run_of(command: Sequence[str]) -> Timed:
    """A run of ``command`` from start to end, in seconds."""

    def run() -> float:
        begin = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, env=environment(), check=True)
        return time.perf_counter() - begin

    return run


def alternately(timed: Sequence[Timed], rounds: int) -> list[float]:
    """The median of each, over ``rounds`` in which they take turns, after one round that does not count."""
    taken: list[list[float]] = [[] for _ in timed]
    for _ in range(1 + rounds):
        for one, times in zip(timed, taken, strict=True):
            times.append(one())
    return [statistics.median(times[1:]) for times in taken]
