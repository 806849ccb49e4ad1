"""Settings for all tests."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support import forks

EXAMPLES = int(os.environ.get("FASTBG_EXAMPLES", "100"))  # per property; `python -m tests.fuzz` sets more

MAX_WORKERS = 12

# No deadline: no test may fail because of a slow machine.
settings.register_profile("fastbg", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastbg")


# A shell ignores SIGINT in background jobs, nohup ignores SIGHUP, and child processes inherit that.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


# The tests start hundreds of Python processes: none of them should compile fastbg anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

forks.install()


@pytest.fixture
def new_interpreters() -> Iterator[None]:
    """Start fastbg as users do, not by forks: for what depends on the modules that are imported."""
    with forks.not_used():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests that are marked as `long` begin first, spread over the workers: else the others wait for them."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if item not in long]
    share = -(-len(others) // workers)
    items[:] = [item for n in range(workers) for item in (*long[n::workers], *others[n * share : (n + 1) * share])]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return two workers per core, because tests wait half of the time for a server, a task or a timeout.

    At most `MAX_WORKERS`: a container may show all cores of its host but use only two.
    """
    return min((os.cpu_count() or 1) * 2, MAX_WORKERS)
