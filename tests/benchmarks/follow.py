"""The latency of the follower, and the run time of `fastbg tail`."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from fastbg.events import Appended
from fastbg.follow.follower import Follower
from tests.benchmarks.rows import Row
from tests.benchmarks.runs import alternately, run_of

APPENDS = 400
RUNS = 21

# Each line has the monotonic time right before its write. The pauses prevent bursts.
WRITER = f"""
import os, random, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for _ in range({APPENDS}):
    time.sleep(random.uniform(0.0, 0.01))
    os.write(file, b"%d\\n" % time.monotonic_ns())
"""


def follow_latency() -> list[Row]:
    """Compare the latency from append to observation: our follower and GNU ``tail -F``, in the same run.

    For GNU tail it ends when the line can be read from the pipe.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        log.touch()
        with subprocess.Popen(["tail", "-n0", "-F", log], stdout=subprocess.PIPE) as gnu:
            theirs: list[int] = []
            thread = threading.Thread(target=_stamp_lines, args=(gnu, theirs))
            ours = _follow_in_a_child(log, thread)
            gnu.kill()
            thread.join()
    return [
        Row(
            what=f"append to observed, {name}",
            floor="GNU tail -F, same run",
            ratio=at(ours) / at(theirs),
            must="<= 3",
            ok=at(ours) <= 3 * at(theirs),
            detail=f"{at(ours) / 1e6:.3f} ms / {at(theirs) / 1e6:.3f} ms, {len(ours)} and {len(theirs)} appends",
        )
        for name, at in (("p50", statistics.median), ("p99", _p99))
    ]


def _p99(values: Sequence[int]) -> float:
    return statistics.quantiles(values, n=100)[98]


def _stamp_lines(gnu: "subprocess.Popen[bytes]", into: list[int]) -> None:
    if gnu.stdout is None:
        return
    descriptor = gnu.stdout.fileno()
    while data := os.read(descriptor, 65536):
        seen = time.monotonic_ns()
        into.extend(seen - int(line) for line in data.split() if line != b"0")


def _follow_in_a_child(log: Path, thread: threading.Thread) -> list[int]:
    """Return the latencies in ns. The follower runs in its own process, like GNU tail."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.follow", str(log)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as follower:
        if follower.stdout is None:
            return []
        follower.stdout.readline()  # the follower has started
        thread.start()
        time.sleep(0.2)  # GNU tail does not report its start
        subprocess.run([sys.executable, "-c", WRITER, log], check=True)
        return [int(latency) for latency in follower.stdout.read().split()]


async def _print_latencies(log: Path) -> None:
    latencies: list[int] = []
    async with Follower([log]) as follower:
        print("following", flush=True)
        async for item in follower:
            if isinstance(item, Appended):
                latencies += [item.t_ns - int(line) for line in item.data.split()]
            if len(latencies) >= APPENDS:
                break
    print(*latencies, sep="\n")


def tail_start() -> list[Row]:
    """Compare a complete ``fastbg tail --no-follow -n 10`` with its imports alone."""
    imports = [sys.executable, "-c", "import typer, rich.console"]
    smallest = [sys.executable, "-c", SMALLEST_COMMAND, "--number", "2"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        log.write_text("line\n" * 20)
        ours = [sys.executable, "-m", "fastbg", "tail", "--no-follow", "-n", "10", str(log)]
        taken = alternately([run_of(imports), run_of(smallest), run_of(ours)], RUNS)
    names = ("import typer, rich.console", "the smallest Typer command with one number")
    return [
        Row(
            what="fastbg tail --no-follow -n 10",
            floor=name,
            ratio=taken[2] / floor,
            must="<= 1.3",
            ok=taken[2] <= 1.3 * floor,
            detail=f"{taken[2] * 1e3:.0f} ms / {floor * 1e3:.0f} ms, median of {RUNS} runs",
        )
        for name, floor in zip(names, taken, strict=False)
    ]


SMALLEST_COMMAND = """
import typer, rich.console
app = typer.Typer(pretty_exceptions_enable=False)
@app.command()
def show(number: int = 1): pass
app()
"""


if __name__ == "__main__":
    asyncio.run(_print_latencies(Path(sys.argv[1])))
