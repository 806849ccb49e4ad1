"""Keeps the results of finished requests: totals of all requests, and a limited number of single results."""

from collections.abc import Iterable

from fastbg.evidence.results import Group, RequestResult, add_to_groups

MAX_KEPT = 1000  # single results; later ones are kept only if an expectation was not met,
MAX_UNMET = 100  # up to this number


class ResultStore:
    """A store of results. ``groups``: totals by part and request name. ``over``: number of finished requests."""

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        self.over = 0
        self._names = list(names)  # part and request name, in script order
        self._groups: dict[tuple[str, str], Group] = {}
        self._results: dict[str, RequestResult] = {}

    def add(self, result: RequestResult) -> None:
        """Add the result of a finished request."""
        trace = result.trace
        self.over += 1
        add_to_groups(self._groups, result)
        if len(self._results) < MAX_KEPT or (result.unmet and len(self._results) < MAX_KEPT + MAX_UNMET):
            self._results[trace.request_id] = result

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups in script order, then those of requests that were sent again."""
        return tuple(self._groups[key] for key in dict.fromkeys([*self._names, *self._groups]) if key in self._groups)

    def with_live(self, live: Iterable[RequestResult]) -> tuple[RequestResult, ...]:
        """Return the kept results and those of ``live`` requests, sorted by request id."""
        results = self._results | {result.trace.request_id: result for result in live}
        return tuple(results[request_id] for request_id in sorted(results))
