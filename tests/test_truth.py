"""A short comparison with the kernel by `tests.truth`, and a check that it finds faults."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fastbg.evidence.verdict import Judgement
from tests.truth.compare import STAMPS, Pair, Truth, contradictions, describe
from tests.truth.kernel import Call, Tracing, UnavailableError, parse
from tests.truth.packets import Packet, last_bytes
from tests.truth.runs import RequestSpec, truth_server

TRACE = """\
# tracer: nop
         python3-1866    [001] ...1. 11564.704998: tracing_mark_write: start r-1
         python3-1866    [001] ..... 11564.704999: sys_write -> 0x9
 a thread-[0]-77-77      [000] ...1. 11564.705000: tracing_mark_write: write r-2
         python3-1866    [001] ...1. 11564.705001: tracing_mark_write: write r-1
 a thread-[0]-77-77      [000] ..... 11564.705002: sys_write(fd: 0x384, buf: 0x7f3e5a5f9400, count: 6)
         python3-1866    [001] ..... 11564.705003: sys_write(fd: 0x384, buf: 0x7f3e5a5f9400, count: 6)
         python3-1866    [001] ..... 11564.705011: sys_write -> 0x6
 a thread-[0]-77-77      [000] ..... 11564.705012: sys_write -> 0x6
         python3-1900    [000] ..... 11564.705020: sys_sendto(fd: 0x9, buff: 0x7, len: 0x6, flags: 0, addr: 0x0)
         python3-1900    [000] ..... 11564.705030: sys_sendto -> 0x6
"""


def test_trace_is_read_thread_by_thread() -> None:
    traced = parse(TRACE.splitlines(keepends=True))
    second = 11564 * 10**9
    assert traced.started_ns == {"r-1": second + 704_998_000}
    assert traced.writes == {
        "r-1": Call(second + 705_003_000, second + 705_011_000),
        "r-2": Call(second + 705_002_000, second + 705_012_000),
    }
    assert traced.sends == {1900: [Call(second + 705_020_000, second + 705_030_000)]}


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


@pytest.fixture(scope="module")
def pairs() -> Iterator[list[Pair]]:
    """Send 150 requests with instant tasks and 50 to the control, ten in parallel."""
    try:
        with truth_server() as server:
            specs = [
                RequestSpec("/thread"),
                RequestSpec("/loop"),
                RequestSpec("/racing?most=0.001"),
                RequestSpec("/foreground"),
            ]
            yield server.send(specs, 50, 10)
    except UnavailableError as error:
        pytest.skip(str(error))


def test_no_verdict_is_contradicted_by_the_kernel(pairs: list[Pair]) -> None:
    assert len(pairs) == 200
    assert [describe(pair) for pair in contradictions(pairs)] == []
    assert {truth.order for _, truth in pairs} >= {"response-first", "work-first"}


def test_no_timestamp_is_impossible(pairs: list[Pair]) -> None:
    assert {stamp.name: stamp.wrong(pairs) for stamp in STAMPS} == dict.fromkeys((each.name for each in STAMPS), 0)
    assert {stamp.name: len(stamp.errors(pairs)) for stamp in STAMPS} == {
        "response complete": 200,
        "response sent": 200,
        "task started": 150,
        "write seen": 200,
    }


def test_capture_and_trace_agree_when_a_response_left(pairs: list[Pair]) -> None:
    assert all(truth.sources_agree for _, truth in pairs)


def test_wrong_verdicts_and_times_are_found(pairs: list[Pair]) -> None:
    control = next(pair for pair in pairs if pair[0].name == "foreground")
    wrong = replace(control[0], judgement=Judgement("response-first", ("server",)))
    late = replace(control[1], left_ns=control[1].left_ns + 10**9, send=Call(0, 2**63))
    assert contradictions([(wrong, control[1])]) == [(wrong, control[1])]
    assert "response-first by server, but the write ended" in describe((wrong, control[1]))
    assert STAMPS[0].wrong([(control[0], late)]) == 1


@pytest.mark.parametrize(("left_ns", "order"), [(3999, "response-first"), (9001, "work-first"), (5000, "overlapping")])
def test_order_needs_a_gap_larger_than_the_margin(left_ns: int, order: str) -> None:
    assert Truth(Call(0, 10**6), left_ns, None, Call(5000, 8000)).order == order


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
