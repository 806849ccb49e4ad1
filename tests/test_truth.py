"""A short comparison with the kernel by `tests.truth`, and a check that it finds faults."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastbg.events import Verdict
from fastbg.evidence.verdict import Judgement
from tests.truth.compare import STAMPS, Pair
from tests.truth.kernel import Call, TracedRequest, Tracing, UnavailableError, parse
from tests.truth.orders import Compared, Order, Outcome, Span, Truth, reason_of, unproven_share
from tests.truth.packets import Packet, last_bytes
from tests.truth.runs import RequestSpec, truth_server
from tests.truth.servers import SERVERS, Server, serve
from tests.truth.shapes import SHAPES, Shape
from tests.truth.verdicts import compare

TRACE = """\
# tracer: nop
         python3-1866    (   1866) [001] ...1. 11564.704990: tracing_mark_write: socket r-1 28
         python3-1866    (   1866) [001] ..... 11564.704991: sys_write -> 0x9
         python3-1866    (   1866) [001] ...1. 11564.704998: tracing_mark_write: start r-1 0
 a thread-[0]-77-77      (     77) [000] ...1. 11564.705000: tracing_mark_write: write r-2
         python3-1866    (   1866) [001] ...1. 11564.705001: tracing_mark_write: write r-1
 a thread-[0]-77-77      (     77) [000] ..... 11564.705002: sys_write(fd: 0x384, buf: 0x7f3e5a5f9400, count: 6)
         python3-1866    (   1866) [001] ..... 11564.705003: sys_write(fd: 0x384, buf: 0x7f3e5a5f9400, count: 6)
         python3-1866    (   1866) [001] ..... 11564.705011: sys_write -> 0x6
 a thread-[0]-77-77      (     77) [000] ..... 11564.705012: sys_write -> 0x6
         python3-1867    (   1866) [000] ..... 11564.705020: sys_sendto(fd: 0x1c, buff: 0x7, len: 0x6, flags: 0)
         python3-1866    (   1866) [001] ...1. 11564.705022: tracing_mark_write: end r-1 0
         python3-1867    (   1866) [000] ..... 11564.705030: sys_sendto -> 0x6
         python3-1867    (   1866) [000] ..... 11564.705031: sys_writev(fd: 0x1c, vec: 0x7, vlen: 1)
         python3-1867    (   1866) [000] ..... 11564.705032: sys_writev -> 0xfffffffffffffff5
           other-2000    (   2000) [000] ..... 11564.705033: sys_sendto(fd: 0x1c, buff: 0x7, len: 0x6, flags: 0)
           other-2000    (   2000) [000] ..... 11564.705034: sys_sendto -> 0x6
         python3-1866    (   1866) [000] ..... 11564.705040: sys_shutdown(fd: 0x1c, how: 0)
         python3-1866    (   1866) [000] ..... 11564.705041: sys_shutdown -> 0x0
         python3-1866    (   1866) [000] ..... 11564.705042: sys_close(fd: 0x1c)
         python3-1866    (   1866) [000] ..... 11564.705043: sys_close -> 0x0
         python3-1866    (   1866) [000] ..... 11564.705050: sys_sendto(fd: 0x1c, buff: 0x7, len: 0x6, flags: 0)
         python3-1866    (   1866) [000] ..... 11564.705060: sys_sendto -> 0x6
         python3-1866    (   1866) [001] ...1. 11564.705070: tracing_mark_write: called r-2
         python3-1866    (   1866) [001] ...1. 11564.705071: tracing_mark_write: returned r-2
"""


def test_trace_is_read_by_request() -> None:
    """A descriptor belongs to all threads of a process, to no other process, and to no request after its close."""
    second = 11564 * 10**9
    assert parse(TRACE.splitlines(keepends=True)) == {
        "r-1": TracedRequest(
            started_ns={"0": second + 704_998_000},
            ended_ns={"0": second + 705_022_000},
            writes=[Call(second + 705_003_000, second + 705_011_000, 6)],
            sends=[Call(second + 705_020_000, second + 705_030_000, 6)],
            closed=Call(second + 705_042_000, second + 705_043_000),
        ),
        "r-2": TracedRequest(
            called_ns=second + 705_070_000,
            returned_ns=second + 705_071_000,
            writes=[Call(second + 705_002_000, second + 705_012_000, 6)],
        ),
    }


def test_trace_without_the_process_of_a_thread_is_refused() -> None:
    with pytest.raises(RuntimeError, match="process of thread 9"):
        parse(["         python3-9       (-------) [000] ..... 1.705060: sys_close(fd: 0x1c)\n"])


def test_last_byte_belongs_to_the_request_before_it() -> None:
    def ask(t_ns: int, port: int, name: str) -> Packet:
        data = f"POST / HTTP/1.1\r\nX-Request-ID: {name}\r\n\r\n".encode()
        return Packet(t_ns, port, 80, 1, len(data), data)

    def answer(t_ns: int, port: int, seq: int, size: int) -> Packet:
        return Packet(t_ns, 80, port, seq, size, b"")

    packets = [
        ask(1, 1000, "a"),
        ask(2, 1001, "b"),
        answer(3, 1000, 2**32 - 10, 10),
        answer(4, 1001, 500, 10),
        answer(5, 1000, 0, 20),  # sequence numbers wrap around
        answer(6, 1000, 2**32 - 10, 10),  # a retransmission
        answer(7, 1000, 20, 0),  # no data
        ask(8, 1000, "c"),
        answer(9, 1000, 20, 5),
    ]
    assert last_bytes(packets, 80) == {"a": 5, "b": 4, "c": 9}


HANDOVER = Call(100_000, 110_000, 100)
BEFORE, AFTER, ACROSS = Span(10_000, 20_000), Span(200_000, 300_000), Span(10_000, 300_000)
STARTS_INSIDE, ENDS_INSIDE = Span(105_000, 300_000), Span(10_000, 105_000)
TOO_CLOSE = Span(110_900, 300_000)  # the resolution of the trace is 1 us


@pytest.mark.parametrize(
    ("tasks", "order"),
    [
        ([AFTER], "response-first"),
        ([AFTER, ACROSS], "overlapping"),
        ([AFTER, ACROSS, BEFORE], "work-first"),
        ([STARTS_INSIDE], "unclear"),
        ([ENDS_INSIDE], "unclear"),
        ([ENDS_INSIDE, ACROSS], "unclear"),
        ([TOO_CLOSE], "unclear"),
        ([AFTER, Span(10_000, None)], "unfinished"),
        ([], "no work"),
    ],
)
def test_order_is_that_of_work_and_last_byte(tasks: list[Span], order: Order) -> None:
    assert Truth(HANDOVER, tasks, []).order == order
    assert Truth(None, tasks, []).order == (order if order in ("unfinished", "no work") else "no response")


def test_missing_work_is_no_order() -> None:
    assert Truth(HANDOVER, [], [], missing_tasks=1).order == "never ran"
    assert Truth(HANDOVER, [AFTER], [], missing_tasks=1).order_of_tasks == "unfinished"
    made = TracedRequest(made=1, sends=[HANDOVER], writes=[Call(1, 2)])
    assert Truth.of(Shape("", "/", tasks=0), made, complete=True, tls=False).order_of_tasks == "never ran"
    without_write = Truth(HANDOVER, [AFTER], [], missing_writes=1)
    assert (without_write.order, without_write.order_of_tasks) == ("unfinished", "response-first")


@pytest.mark.parametrize(
    ("shape", "tls", "handover"),
    [
        (Shape("", "/"), False, Call(3, 4, 24)),
        (Shape("", "/"), True, Call(1, 2, 100)),  # the last call announced the end of the connection
        (Shape("", "/", ends_with_connection=True), False, Call(3, 6)),
    ],
)
def test_last_byte_is_in_the_last_call_of_the_response(shape: Shape, tls: bool, handover: Call) -> None:
    traced = TracedRequest(sends=[Call(1, 2, 100), Call(3, 4, 24)], closed=Call(5, 6))
    assert Truth.of(shape, traced, complete=True, tls=tls).handover == handover
    assert Truth.of(shape, traced, complete=False, tls=tls).handover is None


@pytest.mark.parametrize(
    ("verdict", "evidence", "truth", "outcome"),
    [
        ("response-first", ("server",), Truth(HANDOVER, [AFTER], [AFTER]), "agrees"),
        ("response-first", ("server",), Truth(HANDOVER, [ACROSS], [AFTER]), "contradiction"),
        ("response-first", ("client+file",), Truth(HANDOVER, [ACROSS], [AFTER]), "agrees"),
        ("response-first", ("client+file",), Truth(HANDOVER, [ACROSS], [BEFORE]), "contradiction"),
        ("response-first", ("server",), Truth(HANDOVER, [STARTS_INSIDE], []), "unclear"),
        ("response-first", ("server",), Truth(None, [AFTER], []), "contradiction"),
        ("response-first", ("server",), Truth(HANDOVER, [AFTER], [], missing_tasks=1), "contradiction"),
        ("work-first", ("server",), Truth(HANDOVER, [BEFORE], []), "agrees"),
        ("work-first", ("file+server",), Truth(HANDOVER, [AFTER], [AFTER]), "contradiction"),
        ("work-first", ("server",), Truth(HANDOVER, [ACROSS], []), "contradiction"),
        ("overlapping", ("server",), Truth(HANDOVER, [ACROSS], [BEFORE]), "agrees"),
        ("overlapping", ("server",), Truth(HANDOVER, [BEFORE], []), "contradiction"),
        ("overlapping", ("server",), Truth(HANDOVER, [AFTER], [], call=ACROSS), "by the call"),
        ("overlapping", ("server",), Truth(HANDOVER, [AFTER], [], call=STARTS_INSIDE), "contradiction"),
        ("overlapping", ("server",), Truth(HANDOVER, [BEFORE], [], call=Span(10_000, None)), "by the call"),
        ("overlapping", ("server",), Truth(HANDOVER, [BEFORE], [], call=ENDS_INSIDE), "contradiction"),
        ("failed", ("server",), Truth(HANDOVER, [Span(1, None)], []), "agrees"),
        ("failed", ("server",), Truth(HANDOVER, [AFTER], []), "contradiction"),
        ("dropped", ("server",), Truth(HANDOVER, [], [], missing_tasks=1), "agrees"),
        ("dropped", ("server",), Truth(HANDOVER, [AFTER], []), "contradiction"),
        ("no-work", ("server",), Truth(HANDOVER, [], []), "agrees"),
        ("no-work", ("server",), Truth(HANDOVER, [], [], missing_tasks=1), "contradiction"),
        ("unproven", (), Truth(HANDOVER, [AFTER], []), "unproven"),
        ("unproven", (), Truth(HANDOVER, [STARTS_INSIDE], []), "unclear"),
        ("unproven", (), Truth(None, [AFTER], []), "unclear"),
    ],
)
def test_verdict_is_compared_with_what_it_is_about(
    verdict: Verdict, evidence: tuple[str, ...], truth: Truth, outcome: Outcome
) -> None:
    assert Compared("", "demo", Judgement(verdict, evidence), truth).outcome == outcome


def test_server_alone_knows_nothing_of_writes() -> None:
    truth = Truth(HANDOVER, [], [BEFORE])
    said = Judgement("no-work", ("server",))
    assert Compared("", "report", said, truth).outcome == "agrees"
    assert Compared("", "demo", said, truth).outcome == "contradiction"


def test_unproven_verdicts_are_counted_where_the_order_is_clear() -> None:
    unproven = Judgement("unproven", (), "held 17 bytes, waited 1.5 ms")
    clear = Compared("", "demo", unproven, Truth(HANDOVER, [AFTER], []))
    unclear = replace(clear, truth=Truth(HANDOVER, [STARTS_INSIDE], []))
    proven = replace(clear, judgement=Judgement("response-first", ("server",)))
    assert unproven_share([clear, clear, unclear, proven]) == (2, 3)
    assert reason_of(unproven) == "held N bytes, waited N ms"


def test_contradiction_is_described_with_the_times_of_the_kernel() -> None:
    found = Compared("a shape", "demo", Judgement("response-first", ("server",)), Truth(HANDOVER, [ACROSS], []), "r")
    assert str(found) == (
        "a shape r: demo says response-first by server; the kernel says overlapping: "
        "last byte passed from 0 us to 10 us; task from -90 us to 200 us"
    )


def test_server_that_is_not_installed_is_known() -> None:
    assert Server("", (), needs=("json", "no_such_module")).missing == ["no_such_module"]


IN_SHORT = {
    "def", "async def, slow", "awaited before", "create_task, races", "create_task, overlaps", "fails",
    "dropped by an exception", "no task, writes before", "finally writes later", "HEAD", "FileResponse, 2 x 64 KiB",
    "closes at once, chunked", "closes in the middle", "HTTP/1.0, without length",
}  # fmt: skip


def test_no_verdict_is_contradicted_by_the_kernel(tmp_path: Path) -> None:
    shapes = [shape for shape in SHAPES if shape.name in IN_SHORT]
    assert len(shapes) == len(IN_SHORT)
    try:
        with Tracing() as tracing, serve(SERVERS[0], tmp_path, tracing.marker) as server:
            compared = list(compare(server, tracing, shapes, 8))
    except UnavailableError as error:
        pytest.skip(str(error))
    assert [str(each) for each in compared if each.outcome == "contradiction"] == []
    assert len({each.request_id for each in compared}) == 8 * len(shapes)
    orders = {each.order for each in compared}
    assert orders >= {"response-first", "work-first", "unfinished", "never ran", "no work", "no response"}


@pytest.fixture(scope="module")
def pairs() -> Iterator[list[Pair]]:
    """Send 100 requests with instant tasks and 50 to the control, ten in parallel."""
    try:
        with truth_server() as server:
            yield server.send([RequestSpec("/thread"), RequestSpec("/loop"), RequestSpec("/foreground")], 50, 10)
    except UnavailableError as error:
        pytest.skip(str(error))


def test_no_timestamp_is_impossible(pairs: list[Pair]) -> None:
    assert {stamp.name: stamp.wrong(pairs) for stamp in STAMPS} == dict.fromkeys((each.name for each in STAMPS), 0)
    assert {stamp.name: len(stamp.errors(pairs)) for stamp in STAMPS} == {
        "response complete": 150,
        "response sent": 150,
        "task started": 100,
        "write seen": 150,
    }


def test_capture_and_trace_agree_when_a_response_left(pairs: list[Pair]) -> None:
    assert all(truth.sources_agree for _, truth in pairs)


def test_wrong_times_are_found(pairs: list[Pair]) -> None:
    said, truth = pairs[0]
    late = replace(truth, left_ns=truth.left_ns + 10**9, send=Call(0, 2**63))
    assert STAMPS[0].wrong([(said, late)]) == 1


def test_nothing_of_the_trace_is_left_behind() -> None:
    try:
        with Tracing() as tracing:
            folder = tracing.marker.parent
            assert folder.is_dir()
    except UnavailableError as error:
        pytest.skip(str(error))
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_missing_permission_is_an_error() -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(UnavailableError, match=r"no trace of system calls: .+"), Tracing():
            pass
    finally:
        os.seteuid(0)
