"""Tests that replace the clock: stamps, verdicts and time limits stay those of the system."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import count

import pytest
import time_machine
from fastapi import BackgroundTasks, FastAPI
from freezegun import freeze_time
from starlette.background import BackgroundTask

from fastbg.clock import monotonic_ns
from fastbg.testing import AsyncClient, Client
from tests.support.processes import PATIENCE_S

Freeze = Callable[[], AbstractContextManager[object]]
FROZEN: dict[str, Freeze] = {
    "freezegun": lambda: freeze_time("2020-01-01"),
    "freezegun, ticking": lambda: freeze_time("2020-01-01", tick=True),
    "freezegun, before the boot": lambda: freeze_time("1970-01-01 00:01"),
    "time-machine": lambda: time_machine.travel(datetime(2020, 1, 1, tzinfo=UTC), tick=False),
    "time-machine, ticking": lambda: time_machine.travel(datetime(1970, 1, 2, tzinfo=UTC)),
}
app, go = FastAPI(), threading.Event()


async def work() -> None:
    pass


@app.get("/later")
async def later(tasks: BackgroundTasks) -> None:
    tasks.add_task(work)


@app.get("/inline")
async def inline() -> None:
    await BackgroundTask(work)()


@app.get("/held")
async def held(tasks: BackgroundTasks) -> None:
    go.clear()
    tasks.add_task(go.wait, PATIENCE_S)


@app.get("/release")
async def release() -> None:
    go.set()


@pytest.fixture(params=["object", "name"])
def fastbg_app(request: pytest.FixtureRequest) -> object:
    return app if request.param == "object" else "tests.testing.test_clock:app"


@pytest.fixture(params=FROZEN)
def frozen(request: pytest.FixtureRequest) -> Freeze:
    return FROZEN[request.param]


@pytest.mark.fastbg(timeout=PATIENCE_S)
def test_replaced_clock_changes_no_verdict_and_no_stamp(fastbg: Client, frozen: Freeze) -> None:
    begin_ns, begin_wall_ns = monotonic_ns(), time.time_ns()
    with frozen():
        reply, early = fastbg.get("/later"), fastbg.get("/inline")
        assert reply.verdict == "response-first"
        assert reply.came_before("work")
        assert early.verdict == "work-first"
        with pytest.raises(AssertionError, match="work-first"):
            early.came_before("work")
    end_ns = monotonic_ns()
    assert all(begin_ns <= event.t_ns <= end_ns for event in (*reply.events, *early.events))
    walls = [event.detail["wall_ns"] for event in reply.events if event.source == "server"]
    assert all(abs(wall - begin_wall_ns) < 3600e9 for wall in walls)


@pytest.mark.parametrize("frozen", ["freezegun", "time-machine"], indirect=True)
@pytest.mark.fastbg(timeout=0.05)
def test_replaced_clock_changes_no_time_limit(fastbg: Client, frozen: Freeze) -> None:
    with frozen(), pytest.raises(AssertionError, match=r"not within 0\.05 s"):
        fastbg.get("/held", timeout=PATIENCE_S).wait()
    fastbg.get("/release", timeout=PATIENCE_S)


@pytest.mark.parametrize("frozen", ["freezegun, before the boot", "time-machine"], indirect=True)
@pytest.mark.usefixtures("fastbg_app")
@pytest.mark.fastbg(timeout=0.05, scope="function")
def test_server_that_starts_under_a_frozen_clock(frozen: Freeze, request: pytest.FixtureRequest) -> None:
    with frozen():
        client: Client = request.getfixturevalue("fastbg")
        with pytest.raises(AssertionError, match="did not finish"):
            client.get("/held", timeout=PATIENCE_S).wait()
        client.get("/release", timeout=PATIENCE_S).wait(PATIENCE_S)
        assert client.get("/later", timeout=PATIENCE_S).wait(PATIENCE_S).came_before("work")


def test_app_that_replaces_the_clock(fastbg: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = count()
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(numbers))
    assert fastbg.get("/inline").wait(PATIENCE_S).verdict == "work-first"


@pytest.mark.anyio
@pytest.mark.fastbg(timeout=PATIENCE_S)
async def test_waits_end_in_an_event_loop_that_stands_still(fastbg_async: AsyncClient) -> None:
    with freeze_time("2020-01-01"):
        reply = await (await fastbg_async.get("/later")).wait()
    assert reply.came_before("work")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
