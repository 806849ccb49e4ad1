"""The accuracy of percentiles of durations in classes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.evidence.distribution import Distribution
from fastbg.evidence.results import percentile


@given(st.lists(st.integers(1, 10**13), min_size=1), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_percentiles_are_within_half_a_percent(times_ns: list[int], share: float) -> None:
    times = Distribution()
    for time_ns in times_ns:
        times.add(time_ns)
    exact = percentile([time_ns / 1e6 for time_ns in sorted(times_ns)], share)
    assert times.percentile_ms(share) == pytest.approx(exact, rel=0.0 if share in (0, 1) else 0.0051)


@given(st.lists(st.integers(-5, 10**13)), st.lists(st.integers(-5, 10**13)))
def test_merged_distribution_is_one_of_all_times(some_ns: list[int], more_ns: list[int]) -> None:
    one, other, both = Distribution(), Distribution(), Distribution()
    for times, times_ns in ((one, some_ns), (other, more_ns), (both, some_ns + more_ns)):
        for time_ns in times_ns:
            times.add(time_ns)
    one.merge(other)
    assert one.count == both.count
    assert [one.percentile_ms(share) for share in (0, 0.5, 1)] == [both.percentile_ms(share) for share in (0, 0.5, 1)]


def test_empty_distribution_and_negative_times() -> None:
    times = Distribution()
    assert times.percentile_ms(0.5) is None
    times.add(-5)
    assert times.percentile_ms(0.5) == -5 / 1e6
