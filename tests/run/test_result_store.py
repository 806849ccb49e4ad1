"""Kept results: totals of all requests, and a limited number of single results."""

from dataclasses import replace

from fastbg.evidence.results import RequestResult
from fastbg.run.result_store import MAX_KEPT, MAX_UNMET, ResultStore
from tests.support.results import background, foreground

NAMES = [("", "notification"), ("", "control"), ("", "never sent")]


def result(number: int, *, met: bool = True) -> RequestResult:
    trace = background()
    trace.request = replace(trace.request, request_id=f"r{number:05}")
    if not met:
        trace.expected = replace(trace.expected, verdict="lost")
    return RequestResult.of(trace)


def test_all_are_counted_and_the_first_are_kept() -> None:
    kept = ResultStore(NAMES)
    for number in range(MAX_KEPT + 5):
        kept.add(result(number))
    assert kept.over == MAX_KEPT + 5
    assert [group.count for group in kept.groups] == [MAX_KEPT + 5]
    assert len(kept.with_live([])) == MAX_KEPT


def test_later_ones_are_kept_where_they_are_not_as_expected() -> None:
    kept = ResultStore(NAMES)
    for number in range(MAX_KEPT):
        kept.add(result(number))
    for number in range(MAX_KEPT, MAX_KEPT + MAX_UNMET + 5):
        kept.add(result(number, met=False))
    shown = kept.with_live([])
    assert len(shown) == MAX_KEPT + MAX_UNMET
    assert kept.groups[0].unmet == MAX_UNMET + 5


def test_groups_are_in_script_order_and_live_results_by_id() -> None:
    kept = ResultStore(NAMES)
    kept.add(RequestResult.of(foreground()))
    kept.add(RequestResult.of(background()))
    assert [group.name for group in kept.groups] == ["notification", "control"]
    assert [each.trace.request_id for each in kept.with_live([result(0)])] == ["r00000", "r1", "r2"]


def test_groups_of_requests_that_were_sent_again_come_last() -> None:
    kept = ResultStore(NAMES)
    again = background()
    again.request = replace(again.request, name="notification #2")
    for trace in (again, foreground(), background()):
        kept.add(RequestResult.of(trace))
    assert [group.name for group in kept.groups] == ["notification", "control", "notification #2"]
