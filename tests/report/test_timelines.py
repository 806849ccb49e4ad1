"""Time lines drawn from given times."""

import io
import re
from collections.abc import Sequence

import pytest
from rich.console import Console

from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import Trace
from fastbg.report.timelines import CLIENT_LEGEND, JOURNAL_LEGEND, timelines
from tests.support.results import background, in_milliseconds
from tests.support.traces import answered, event, finished, task, trace, wrote

NAME = 19  # columns before the bars


def bars(*made: Trace, now_ms: int) -> list[str]:
    """Return the bar of each request at that time, with 80 columns for bars."""
    console = Console(file=io.StringIO(), width=NAME + 80, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        results = [RequestResult.of(each) for each in made]
        console.print(timelines(results, encoding="utf-8", now_ns=now_ms * 10**6, explain=False))
    return [line.rstrip()[NAME:] for line in captured.get().splitlines()][: len(made)]


def under_way() -> Trace:
    """Return a request that was sent at 1000 ms and is not finished."""
    made = in_milliseconds(trace())
    made.answered = False
    return made


def test_bar_of_a_request_that_waits_grows_with_the_time() -> None:
    lengths = []
    for now_ms in (1010, 1100, 1400):
        finished, waiting = bars(background(), under_way(), now_ms=now_ms)  # the first one ended at 1502 ms
        assert set(waiting) <= {"━"}
        assert finished.endswith("◆")
        lengths.append(len(waiting))
    assert lengths == sorted(set(lengths))


def test_bar_of_a_task_that_runs_grows_behind_the_response() -> None:
    running = in_milliseconds(task(answered(trace(), 1002, size=100), 1003, end=None))
    for now_ms, least in ((1100, 5), (1400, 50)):
        _, bar = bars(background(), running, now_ms=now_ms)
        assert bar.lstrip("━").startswith("●┄")
        assert bar.count("┄") > least


def with_writes(times_ms: Sequence[int]) -> Trace:
    """Return a request whose client had the response after 2 ms, with these writes."""
    made = answered(trace(writes=len(times_ms)), 1002, size=100)
    for n, ms in enumerate(times_ms):
        made = wrote(made, 1000 + ms, offset=100 + 8 * n, n=n)
    return finished(in_milliseconds(made))


def test_response_is_on_the_bar_among_any_number_of_writes() -> None:
    (bar,) = bars(with_writes(range(3, 603, 3)), now_ms=2000)
    assert bar.count("●") == 1
    assert bar.index("●") <= 1
    assert len(bar) <= 80


def test_many_writes_at_one_time_are_one_mark() -> None:
    (bar,) = bars(with_writes([600] * 50), now_ms=2000)
    assert bar.count("◆") == 1
    (bar,) = bars(with_writes([600] * 3), now_ms=2000)
    assert bar.endswith("◆◆◆")


def failing(end: str) -> Trace:
    started_ns = None if end == "task_dropped" else 1003
    return in_milliseconds(
        finished(task(answered(trace(writes=0), 1002, size=100), started_ns, end, took_ns=200), 1204)
    )


def cut_short(*, server_gone: bool, ended_ms: int = 1300) -> Trace:
    """Return a request whose task has no end."""
    made = in_milliseconds(task(answered(trace(writes=0), 1002, size=100), 1003, end=None))
    made.ended, made.ended_ns, made.server_gone = "not within 9 s", ended_ms * 10**6, server_gone
    return made


def final_bars(*made: Trace) -> list[str]:
    console = Console(file=io.StringIO(), width=NAME + 80, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(timelines([RequestResult.of(each) for each in made], encoding="utf-8", explain=False))
    return [line.rstrip()[NAME:] for line in captured.get().splitlines()][: len(made)]


def test_bad_ends_have_marks_of_their_own() -> None:
    _, failed, dropped, lost, runs = final_bars(
        background(), failing("task_failed"), failing("task_dropped"),
        cut_short(server_gone=True), cut_short(server_gone=False, ended_ms=9000),
    )  # fmt: skip
    assert re.fullmatch("●┄+╳", failed)
    assert re.fullmatch("● +○", dropped)
    assert re.fullmatch("●┄+◇", lost)
    assert len(lost) < 80
    assert re.fullmatch("●┄+»", runs)
    assert len(runs) == 80  # an open end is at the right edge, and does not change the scale


def test_missing_write_is_a_lost_mark_at_the_edge() -> None:
    made = in_milliseconds(finished(task(answered(trace(), 1002, size=100), 1003), 1014))
    made.ended = "not within 1 s"
    _, bar = final_bars(background(), made)
    assert (bar[0], bar[-1], len(bar)) == ("●", "◇", 80)


def test_client_without_a_response_has_waited() -> None:
    made = in_milliseconds(trace(writes=0))
    made.events.append(event(1_400_000_000, "client", "request_failed", error="ReadError"))
    _, bar = final_bars(background(), made)
    assert set(bar) == {"━"}


@pytest.mark.parametrize("width", [30, 60, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_legend_is_complete_and_breaks_no_item(width: int, encoding: str) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    for legend in (CLIENT_LEGEND, JOURNAL_LEGEND):
        with console.capture() as captured:
            console.print(timelines([RequestResult.of(background())], encoding=encoding, legend=legend))
        lines = [line.rstrip() for line in captured.get().splitlines()[2:]]
        assert max(map(len, lines)) <= width
        items = [item for line in lines for item in line.split("  ")]
        assert [item.split(" ", 1)[1] for item in items] == [text for _, text in legend.marks]
        assert len({item[0] for item in items}) == len(items)
    assert [text for _, text in CLIENT_LEGEND.marks][-4:] == ["failed", "dropped", "lost", "still runs"]


def test_task_that_has_not_started_has_no_open_end() -> None:
    made = in_milliseconds(task(task(answered(trace(writes=0), 1002, size=100), 1003, end=None), None, end=None, n=1))
    made.ended, made.ended_ns = "not within 9 s", 1_300_000_000
    _, bar = final_bars(background(), made)
    assert bar.count("»") == 1
    made.server_gone = True
    _, bar = final_bars(background(), made)
    assert bar.count("◇") == 2
