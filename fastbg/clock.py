"""The clocks that every module of fastbg reads.

A test, or the app itself, may replace the functions of the module `time`: freezegun does so in every module that
imported them by name, and time-machine in their place in memory. None of them changes the clocks here.
"""

import sys
from collections.abc import Callable
from functools import partial
from time import CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, clock_gettime_ns, pthread_getcpuclockid

# Linux's CLOCK_REALTIME_COARSE, which Python does not name: time-machine changes CLOCK_REALTIME itself.
_COARSE = 5 if sys.platform == "linux" else CLOCK_REALTIME

monotonic = partial(clock_gettime, CLOCK_MONOTONIC)
"""Return the seconds of the clock that all processes of one host share until the next boot."""
monotonic_ns = partial(clock_gettime_ns, CLOCK_MONOTONIC)
"""Return the nanoseconds of the same clock."""
time_ns = partial(clock_gettime_ns, CLOCK_REALTIME)
"""Return the nanoseconds since 1970."""
coarse_time_ns = partial(clock_gettime_ns, _COARSE)
"""Return the nanoseconds since 1970, up to 10 ms late: the time of the kernel's last tick."""


def processor_clock(thread: int) -> Callable[[], int]:
    """Return a clock with the nanoseconds for which a processor has executed the thread with this identifier."""
    return partial(clock_gettime_ns, pthread_getcpuclockid(thread))
