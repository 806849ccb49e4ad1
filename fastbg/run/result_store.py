"""Keeps the results of requests that are over: sums of all, and some of them one by one."""

from collections.abc import Iterable

from fastbg.evidence.results import Group, RequestResult, add_to_groups

MAX_SHOWN = 1000  # requests that are kept one by one; of the others only those that were not as expected,
MAX_UNMET = 100  # up to this many


class ResultStore:
    """``groups``: sums by part and name. ``over``: number of requests that are over."""

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        self.over = 0
        self._names = list(names)  # of part and request, in the order of the script
        self._groups: dict[tuple[str, str], Group] = {}
        self._results: dict[str, RequestResult] = {}

    def add(self, result: RequestResult) -> None:
        """Count the result of a request that is over."""
        trace = result.trace
        self.over += 1
        add_to_groups(self._groups, result)
        if len(self._results) < MAX_SHOWN or (result.unmet and len(self._results) < MAX_SHOWN + MAX_UNMET):
            self._results[trace.request_id] = result

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(self._groups[key] for key in self._names if key in self._groups)

    def with_live(self, live: Iterable[RequestResult]) -> tuple[RequestResult, ...]:
        """The results that are kept, and those of ``live`` requests, in the order of their ids."""
        results = self._results | {result.trace.request_id: result for result in live}
        return tuple(results[request_id] for request_id in sorted(results))
