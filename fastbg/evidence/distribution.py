"""Counts durations in little memory, however many there are, and tells their percentiles. Pure."""

from math import exp, floor, log


class Distribution:
    """Counts nanoseconds in classes that are 1 % wide; count, least and most are exact, percentiles to 0.5 %."""

    STEP = log(1.01)

    def __init__(self) -> None:
        self.count = 0
        self.least_ns: int | None = None
        self.most_ns: int | None = None
        self._classes: dict[int, int] = {}

    def add(self, value_ns: int) -> None:
        """Count a time. One below 1 ns, where a clock was turned back, is in the lowest class."""
        at = floor(log(value_ns) / self.STEP) if value_ns > 0 else -1
        self._classes[at] = self._classes.get(at, 0) + 1
        self.count += 1
        if self.least_ns is None or value_ns < self.least_ns:
            self.least_ns = value_ns
        if self.most_ns is None or value_ns > self.most_ns:
            self.most_ns = value_ns

    def percentile_ms(self, share: float) -> float | None:
        """The nearest-rank percentile (``share`` from 0 to 1) in milliseconds, or None without any times."""
        if self.least_ns is None or self.most_ns is None:
            return None
        if share in (0, 1):
            return (self.most_ns if share else self.least_ns) / 1e6
        left = share * self.count
        for at in sorted(self._classes):
            left -= self._classes[at]
            if left <= 0:
                break
        middle_ns = exp((at + 0.5) * self.STEP)
        return min(max(middle_ns, self.least_ns), self.most_ns) / 1e6
