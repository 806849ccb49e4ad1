"""Settings for all tests."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FASTBG_EXAMPLES", "100"))  # of each property; `python -m tests.fuzz` asks for more

MAX_WORKERS = 12

# Machines are noisy: no test fails for its time.
settings.register_profile("fastbg", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastbg")


# A shell starts what it runs in the background with SIGINT ignored, nohup with SIGHUP, and children inherit that.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """More than there are cores: half of the time a test waits for a server, a task or a time limit.

    No more than `MAX_WORKERS`: a container may show the cores of its host, and give it two of them.
    """
    return min((os.cpu_count() or 1) * 3 // 2, MAX_WORKERS)
