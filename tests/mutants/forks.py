"""A script that runs pytest again and again, each time in a fork of a process that has imported the libraries.

Starting Python and importing the libraries takes longer than most of the tests. Each line of the standard input is a
run: a JSON object with the ``arguments`` of pytest and the limit ``seconds`` or null. The answer is a line with the
``seconds`` that it took, and the exit ``code`` of pytest, null after the limit.
"""

import gc
import importlib
import io
import json
import os
import select
import signal
import sys
import time
import traceback
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, settings

# Not fastbg itself: a fork imports the mutant.
LIBRARIES = ("anyio.pytest_plugin", "fastapi", "httpx", "pydantic", "rich.live", "typer", "uvicorn", "xdist.plugin")
GRACE_S = 10.0  # for the fixtures of a stopped run, which end their servers


# The settings of `tests/conftest.py`, with the same examples in each run, and without the search for the simplest one.
settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # pytest collects garbage at its end: half of the time of a fork
    # Not buffered: `_wait` must see whether there is more to read.
    for line in io.FileIO(sys.stdin.fileno(), closefd=False):
        run = json.loads(line)
        begin = time.monotonic()
        process = os.fork()
        if not process:
            _test(run["arguments"])
        os.setpgid(process, process)
        code = _wait(process, run["seconds"])
        print(json.dumps({"code": code, "seconds": time.monotonic() - begin}), flush=True)


def _test(arguments: list[str]) -> None:
    """Run pytest in this fork, and exit."""
    os.setpgid(0, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    code = 1
    try:
        code = pytest.main(arguments)
    except BaseException:  # noqa: BLE001  # a fork must not return to `main`
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def _wait(process: int, seconds: float | None) -> int | None:
    """Wait until the fork ends. Stop it and its children after the limit, or when the standard input is closed."""
    ends = os.pidfd_open(process)
    try:
        ready, _, _ = select.select([ends, 0], [], [], seconds)
        if ends not in ready:
            os.killpg(process, signal.SIGINT)
            select.select([ends], [], [], GRACE_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        os.close(ends)
    return os.waitstatus_to_exitcode(status) if ends in ready else None


if __name__ == "__main__":
    main()
