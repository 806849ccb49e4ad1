"""Measures whole processes in turn, so that other load on the machine affects all of them equally."""

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
    """Return the environment with a bytecode cache, as an installed package has."""
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    folder = tempfile.mkdtemp(prefix="fastbg-bytecode-")
    atexit.register(shutil.rmtree, folder)
    return plain | {"PYTHONPYCACHEPREFIX": folder}


def run_of(command: Sequence[str]) -> Timed:
    """Return a function that runs ``command`` and returns its run time in seconds."""

    def run() -> float:
        begin = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, env=environment(), check=True)
        return time.perf_counter() - begin

    return run


def alternately(timed: Sequence[Timed], rounds: int) -> list[float]:
    """Return the median of each over ``rounds`` of alternating runs, after one warm-up round."""
    taken: list[list[float]] = [[] for _ in timed]
    for _ in range(1 + rounds):
        for one, times in zip(timed, taken, strict=True):
            times.append(one())
    return [statistics.median(times[1:]) for times in taken]
