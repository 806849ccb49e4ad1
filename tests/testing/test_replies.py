"""The fixtures ``fastbg`` and ``fastbg_async``: replies from a real server that know their tasks."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Mapping
from typing import Any

import httpx
import pytest

from fastbg.events import Event
from fastbg.recorder.request_ids import HEADER, id_of_probe, uuid_of
from fastbg.testing import AsyncClient, Client, NoResponse, Reply
from fastbg.testing.request_log import RequestLog
from tests.support.processes import PATIENCE_S
from tests.support.servers import fetch

pytestmark = pytest.mark.fastbg(timeout=PATIENCE_S)
of_its_own = pytest.mark.fastbg(scope="function")  # the other server may still record events of earlier tests


@pytest.fixture(scope="session")
def fastbg_app() -> str:
    return "tests.apps.recorded:app"


def pid_of(client: Client | AsyncClient) -> int:
    pid: int = client.events[-1].detail["pid"]
    return pid


def until(client: Client, name: str, request_id: str | None = None) -> None:
    """Wait for an event with this name, of one request or of any."""
    end = time.monotonic() + PATIENCE_S
    while name not in [event.name for event in client.events if request_id in (None, event.request_id)]:
        assert time.monotonic() < end
        time.sleep(0.005)


# order


def test_reply_is_an_ordinary_response_of_an_ordinary_client(fastbg: Client) -> None:
    reply: Reply = fastbg.get("/two", headers={"X-Any": "thing"})
    assert isinstance(fastbg, httpx.Client)
    assert isinstance(reply, httpx.Response)
    assert reply.json() == "two"
    assert repr(reply) == "<Reply [200 OK] to GET /two>"


@of_its_own
def test_reply_comes_while_its_task_still_runs(fastbg: Client) -> None:
    reply = fastbg.get("/long")
    assert "task_finished" not in [event.name for event in fastbg.events]
    fastbg.get("/release")
    assert reply.came_before("wait")
    assert reply.verdict == "response-first"


@pytest.mark.parametrize("name", ["work", "recorded.work", "tests.apps.recorded.work", "async_work"])
def test_response_came_before_a_task_of_that_name(fastbg: Client, name: str) -> None:
    assert fastbg.get("/two").came_before(name)


def test_response_that_left_while_a_task_ran_did_not_wait_for_it(fastbg: Client) -> None:
    reply = fastbg.get("/overlapping")
    fastbg.get("/end-overlap")
    assert reply.verdict == "overlapping"
    assert reply.did_not_wait_for("overlap")
    sentence = r"overlap had started when the response was sent, and ended after it \(started [\d.]+ ms before, ended "
    with pytest.raises(AssertionError, match=sentence):
        reply.came_before("overlap")


@pytest.mark.parametrize(("path", "task"), [("/two", "work"), ("/failing", "work"), ("/failing", "fail")])
def test_response_did_not_wait_for_a_task_that_started_later(fastbg: Client, path: str, task: str) -> None:
    assert fastbg.get(path).did_not_wait_for(task)


@pytest.mark.parametrize(
    ("path", "task", "why"),
    [
        ("/awaited", "work", "did not wait for work: work-first"),
        ("/http-exception", "work", r"did not wait for work: dropped \(.*HTTPException 404"),
        ("/two", "mail", "task mail was not queued"),
    ],
)
def test_response_that_may_have_waited_says_why(fastbg: Client, path: str, task: str, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        fastbg.get(path).did_not_wait_for(task)


def test_tasks_are_told_in_the_order_in_which_they_ran(fastbg: Client) -> None:
    reply = fastbg.get("/two")
    assert reply.ran == ["work", "async_work"]
    assert [(task.name, task.where) for task in reply.tasks] == [
        ("tests.apps.recorded.work", "thread"),
        ("tests.apps.recorded.async_work", "loop"),
    ]


def test_failed_and_dropped_tasks_are_told_apart(fastbg: Client) -> None:
    reply = fastbg.get("/failing")
    assert (reply.ran, reply.failed, reply.dropped) == (["work"], ["fail"], ["async_work"])
    assert reply.verdict == "failed"
    assert reply.came_before("work")


@pytest.mark.parametrize("path", ["/http-exception", "/own-response", "/crash", "/invalid"])
def test_dropped_task_is_told(fastbg: Client, path: str) -> None:
    assert fastbg.get(path).dropped == ["work"]


@pytest.mark.parametrize(
    ("path", "task", "why"),
    [
        (
            "/two",
            "send_mail",
            r"^task send_mail was not queued; queued tasks: tests\.apps\.recorded\.work, \S+async_work$",
        ),
        ("/two", "ork", "task ork was not queued"),
        ("/release", "work", "task work was not queued; queued tasks: none"),
        ("/failing", "fail", r"before fail: failed \(tests\.apps\.recorded\.fail failed: ValueError: no\\nmore\)$"),
        (
            "/http-exception",
            "work",
            r"came before work: dropped \(tests\.apps\.recorded\.work dropped: HTTPException 404\)$",
        ),
        ("/awaited", "work", r"work: work-first \(tests\.apps\.recorded\.work finished before the response was sent\)"),
        ("/big?size=30000000", "async_work", r"work-first \(.*finished while the server still held the response"),
    ],
)
def test_what_is_not_proved_fails_with_its_reason(fastbg: Client, path: str, task: str, why: str) -> None:
    with fastbg.stream("GET", path) as reply:
        assert isinstance(reply, Reply)
        pieces = reply.iter_bytes()
        next(pieces)  # the rest of the large response is not read while its task must run
        with pytest.raises(AssertionError, match=why):
            reply.came_before(task)


# wait


@of_its_own
def test_task_that_does_not_end_in_time_is_named(fastbg: Client) -> None:
    reply = fastbg.get("/long")
    until(fastbg, "task_started")
    with pytest.raises(AssertionError, match=r"^wait started and did not finish: not within 0\.05 s$"):
        reply.wait(timeout=0.05)
    fastbg.get("/release")
    assert reply.wait().ran == ["wait"]


@of_its_own
@pytest.mark.fastbg(timeout=0.8)
def test_marker_sets_the_limit(fastbg: Client) -> None:
    reply = fastbg.get("/long", timeout=PATIENCE_S)
    with pytest.raises(AssertionError, match=r"not within 0\.8 s$"):
        _ = reply.ran
    fastbg.get("/release", timeout=PATIENCE_S)


@of_its_own
def test_server_that_dies_while_a_task_runs_is_no_timeout(fastbg: Client) -> None:
    reply = fastbg.get("/long")
    os.kill(pid_of(fastbg), signal.SIGKILL)
    with pytest.raises(AssertionError, match=r"^wait \w+ and did not finish: the server was killed by SIGKILL$"):
        _ = reply.dropped


@of_its_own
def test_request_to_a_server_that_died_says_so(fastbg: Client) -> None:
    fastbg.get("/two")
    os.kill(pid_of(fastbg), signal.SIGKILL)
    with pytest.raises(NoResponse, match=r"^the server was killed by SIGKILL$"):
        fastbg.get("/two")


def test_connection_that_breaks_without_a_death_is_httpxs_error(fastbg: Client) -> None:
    with pytest.raises(httpx.ConnectError):
        fastbg.get("http://127.0.0.1:1/")


# requests and events


def received_by(reply: Reply) -> Event:
    (event,) = [event for event in reply.events if event.name == "request_received"]
    return event


def test_default_request_id_is_a_uuid(fastbg: Client) -> None:
    found = [received_by(fastbg.get("/two")) for _ in range(2)]
    assert [event.detail["x_request_id"] for event in found] == [uuid_of(event.request_id or "") for event in found]
    assert len({event.request_id for event in found}) == 2


@of_its_own
def test_requests_with_the_tests_own_id_are_told_apart(fastbg: Client) -> None:
    same = {"x-request-id": "mine"}
    replies = [fastbg.get("/long", headers=same), fastbg.get("/release", headers=same)]
    assert [reply.ran for reply in replies] == [["wait"], []]
    assert [received_by(reply).detail["x_request_id"] for reply in replies] == ["mine", "mine"]


def test_response_that_the_test_does_not_read_is_no_failure(fastbg: Client) -> None:
    with fastbg.stream("GET", "/streaming") as reply:
        pieces = reply.iter_bytes()
        next(pieces)
        until(
            fastbg, "response_sent", fastbg.request_log.requests[-1].trace.request_id
        )  # a connection that ends earlier means a lost response
        pieces.close()  # type: ignore[attr-defined]  # httpx does not declare it as a generator
    assert isinstance(reply, Reply)
    assert reply.wait().verdict != "unproven"
    assert "request_failed" not in [event.name for event in reply.events]


def test_request_is_not_changed(fastbg: Client) -> None:
    request = fastbg.build_request("GET", "/two")
    replies = [fastbg.send(request), fastbg.send(request)]
    assert "X-Request-ID" not in request.headers
    assert [reply.ran for reply in replies] == [["work", "async_work"]] * 2


def test_events_are_those_of_client_and_server(fastbg: Client) -> None:
    names = [(event.source, event.name) for event in fastbg.get("/two").events]
    assert names[0] == ("client", "request_sent")
    assert names.index(("client", "response_headers")) < names.index(("client", "response_complete"))
    assert names.index(("server", "response_sent")) < names.index(("server", "request_finished"))


@of_its_own
def test_events_of_other_clients_since_the_test_began(fastbg: Client) -> None:
    fastbg.get("/two").wait()
    with Client(RequestLog(fastbg.request_log.server, PATIENCE_S)) as of_the_next_test:
        assert of_the_next_test.events == []
        fetch("GET", f"{fastbg.base_url}/two", headers={HEADER: "another"})
        until(of_the_next_test, "request_finished")
        fetch("GET", f"{fastbg.base_url}/two", headers={HEADER: id_of_probe("a1b2c3", 1)})
        assert {event.request_id for event in of_the_next_test.events} == {"another"}


def test_each_request_opens_a_connection(fastbg: Client) -> None:
    phases: list[str] = []
    for _ in range(2):
        fastbg.get("/two", extensions={"trace": lambda phase, info: phases.append(phase)})
    assert phases.count("connection.connect_tcp.complete") == 2


def test_the_tests_own_trace_is_called_as_well(fastbg: Client) -> None:
    phases: list[str] = []

    def trace(phase: str, info: Mapping[str, Any]) -> None:
        phases.append(phase)

    reply = fastbg.get("/two", extensions={"trace": trace})
    assert "http11.send_request_headers.started" in phases
    assert reply.came_before("work")


# in an event loop


def run(awaitable: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await awaitable

    asyncio.run(bounded())


@of_its_own
def test_waiting_in_an_event_loop_holds_nothing_up(fastbg_async: AsyncClient) -> None:
    async def test() -> None:
        reply = await fastbg_async.get("/long")
        await asyncio.gather(reply.wait(), fastbg_async.get("/release"))
        assert reply.came_before("wait")

    run(test())


def test_async_reply_requires_wait_before_its_tasks(fastbg_async: AsyncClient) -> None:
    async def test() -> None:
        reply = await fastbg_async.get("/two")
        with pytest.raises(RuntimeError, match=r"await reply\.wait\(\)"):
            _ = reply.ran
        assert (await reply.wait()).ran == ["work", "async_work"]
        assert reply.events[0].name == "request_sent"

    run(test())


@of_its_own
def test_events_and_the_tests_own_trace_in_an_event_loop(fastbg_async: AsyncClient) -> None:
    phases: list[str] = []

    async def trace(phase: str, info: Mapping[str, Any]) -> None:
        phases.append(phase)

    async def test() -> None:
        await (await fastbg_async.get("/two", extensions={"trace": trace})).wait()

    run(test())
    assert "http11.send_request_headers.started" in phases
    assert fastbg_async.events[-1].name == "request_finished"


@of_its_own
def test_death_of_the_server_is_told_in_an_event_loop(fastbg_async: AsyncClient) -> None:
    async def test() -> None:
        await fastbg_async.get("/two")
        os.kill(pid_of(fastbg_async), signal.SIGKILL)
        with pytest.raises(NoResponse, match=r"^the server was killed by SIGKILL$"):
            await fastbg_async.get("/two")

    run(test())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_anyios_own_tests(fastbg_async: AsyncClient, anyio_backend: str) -> None:
    reply = await fastbg_async.get("/two")
    assert (await reply.wait()).came_before("work")
