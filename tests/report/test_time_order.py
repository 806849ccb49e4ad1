"""The order in which `fastbg tail` shows what several sources report."""

import time

from fastbg.report.time_order import MAX_HELD, TimeOrder

HOUR_NS = 3600 * 10**9


def test_oldest_comes_first_and_equal_times_keep_their_order() -> None:
    order = TimeOrder[str](0)
    for t_ns, item in ((2, "c"), (1, "a"), (2, "d"), (1, "b")):
        order.add(t_ns, item)
    assert [order.pop() for _ in range(len(order))] == ["a", "b", "c", "d"]


def test_item_is_due_when_it_is_old_enough() -> None:
    order = TimeOrder[str](HOUR_NS)
    assert order.wait_s() is None
    order.add(time.monotonic_ns(), "new")
    assert 0 < (order.wait_s() or 0) <= 3600
    order.add(time.monotonic_ns() - HOUR_NS, "old")
    assert (order.wait_s() or 0) <= 0


def test_oldest_of_too_many_is_due_at_once() -> None:
    order = TimeOrder[int](HOUR_NS)
    for number in range(MAX_HELD + 1):
        order.add(time.monotonic_ns(), number)
    assert order.wait_s() == 0
    order.pop()
    assert (order.wait_s() or 0) > 0
