"""Counts any number of durations in little memory and estimates their percentiles. Pure."""

from math import exp, floor, log


class Distribution:
    """Represents durations in nanoseconds, in classes 1 % wide: count and extremes are exact, percentiles to 0.5 %."""

    STEP = log(1.01)

    def __init__(self) -> None:
        self.count = 0
        self.min_ns: int | None = None
        self.max_ns: int | None = None
        self._classes: dict[int, int] = {}

    def add(self, value_ns: int) -> None:
        """Count a duration. Below 1 ns (a clock was set back) it is in the lowest class."""
        at = floor(log(value_ns) / self.STEP) if value_ns > 0 else -1
        self._classes[at] = self._classes.get(at, 0) + 1
        self.count += 1
        self._widen(value_ns)

    def merge(self, other: "Distribution") -> None:
        """Count all durations of ``other`` too."""
        for at, count in other._classes.items():
            self._classes[at] = self._classes.get(at, 0) + count
        self.count += other.count
        for extreme_ns in (other.min_ns, other.max_ns):
            if extreme_ns is not None:
                self._widen(extreme_ns)

    def _widen(self, value_ns: int) -> None:
        if self.min_ns is None or value_ns < self.min_ns:
            self.min_ns = value_ns
        if self.max_ns is None or value_ns > self.max_ns:
            self.max_ns = value_ns

    def percentile_ms(self, share: float) -> float | None:
        """Return the nearest-rank percentile (``share`` from 0 to 1) in milliseconds, None without durations."""
        if self.min_ns is None or self.max_ns is None:
            return None
        if share in (0, 1):
            return (self.max_ns if share else self.min_ns) / 1e6
        remaining = share * self.count
        for at in sorted(self._classes):
            remaining -= self._classes[at]
            if remaining <= 0:
                break
        middle_ns = exp((at + 0.5) * self.STEP)
        return min(max(middle_ns, self.min_ns), self.max_ns) / 1e6
