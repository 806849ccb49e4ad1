"""Settings for all tests."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FASTBG_EXAMPLES", "100"))  # per property; `python -m tests.fuzz` sets more

MAX_WORKERS = 12

# No deadline: no test may fail because of a slow machine.
settings.register_profile("fastbg", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastbg")


# A shell ignores SIGINT in background jobs, nohup ignores SIGHUP, and child processes inherit that.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return two workers per core, because tests wait half of the time for a server, a task or a timeout.

    At most `MAX_WORKERS`: a container may show all cores of its host but use only two.
    """
    return min((os.cpu_count() or 1) * 2, MAX_WORKERS)
