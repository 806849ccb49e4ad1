"""Time lines drawn from given times."""

import io

from rich.console import Console

from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import Trace
from fastbg.report.timelines import timelines
from tests.support.results import background, in_milliseconds
from tests.support.traces import answered, task, trace

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
