"""Merges several journals: the requests in the order of the wall clocks, and the totals of all. Pure.

Nothing is concluded from wall clocks. The times of a request are from the monotonic clock of its own boot.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from heapq import merge as merge_sorted

from fastbg.evidence.blocked_places import BlockedPlace, BlockedPlaces
from fastbg.evidence.distribution import Distribution
from fastbg.evidence.history import JournalAggregator, JournalSummary
from fastbg.evidence.worker_events import WorkerEvents


def join_workers(aggregators: Sequence[JournalAggregator], workers: WorkerEvents) -> None:
    """Add the events of workers to the requests of their servers, in whichever journals they are."""
    claims = Counter(key for each in aggregators for key in each.unfinished)
    for each in aggregators:
        for key in each.unfinished:
            if claims[key] == 1:
                each.adopt(key, workers)
            else:
                each.refuse(key)


def merge(summaries: Sequence[JournalSummary], *, last: int, strays: int) -> JournalSummary:
    """Merge ``summaries``, with the ``last`` requests of all. ``strays``: events that are in none of them."""
    by_wall_clock = list(merge_sorted(*(each.last for each in summaries), key=lambda request: request.wall_ns))
    return JournalSummary(
        journal="",
        hosts=frozenset().union(*(each.hosts for each in summaries)),
        events=sum(each.events for each in summaries),
        lost=sum(each.lost for each in summaries),
        foreign=sum(each.foreign for each in summaries),
        strays=sum(each.strays for each in summaries) + strays,
        skipped_parts=sum(each.skipped_parts for each in summaries),
        cut_processes=sum(each.cut_processes for each in summaries),
        boots=frozenset().union(*(each.boots for each in summaries)),
        processes=sum(each.processes for each in summaries),
        requests=sum(each.requests for each in summaries),
        unfinished=sum(each.unfinished for each in summaries),
        shut_down=sum(each.shut_down for each in summaries),
        counts={verdict: sum(each.counts[verdict] for each in summaries) for verdict in summaries[0].counts},
        responses=_sum([each.responses for each in summaries]),
        works=_sum([each.works for each in summaries]),
        blocked=_all_places(summaries),
        last=tuple(by_wall_clock[-last:] if last else ()),
        left=tuple(process for each in summaries for process in each.left),
        journals=tuple(replace(each, last=()) for each in summaries),
    )


def _all_places(summaries: Sequence[JournalSummary]) -> tuple[BlockedPlace, ...]:
    places = BlockedPlaces()
    for each in summaries:
        places.add(each.blocked)
    return places.all()


def _sum(distributions: Sequence[Distribution]) -> Distribution:
    total = Distribution()
    for each in distributions:
        total.merge(each)
    return total
