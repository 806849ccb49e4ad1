"""Random invalid journals, for everything that reads or shows a journal."""

import io
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import strategies as st
from rich.console import Console

from fastbg.commands.report import read
from fastbg.events import Appended
from fastbg.evidence.history import JournalAggregator
from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import SentRequest, Trace
from fastbg.recorder.journal_lines import JournalLines, read_journal_line
from fastbg.report.document import history_document
from fastbg.report.history import journal_report
from fastbg.report.journal_stream import JournalStream
from fastbg.report.json_lines import JsonPrinter
from fastbg.report.lines import JournalPrinter
from fastbg.report.request_lines import RequestPrinter
from tests.support.hostile import HOSTILE, unescaped_in
from tests.support.recordings import line

JOURNAL = Path("journal.jsonl")
NAMES = (
    "request_received", "task_queued", "task_started", "task_retried", "task_finished", "task_failed", "task_dropped",
    "loop_blocked", "response_sent", "response_lost", "request_finished", "shutdown", "task_", "loop_",
)  # fmt: skip
KEYS = (
    "t_ns", "wall_ns", "host", "boot", "pid", "event", "request", "method", "path", "status", "bytes", "buffered",
    "files", "task", "n", "where", "error", "reason", "detail", "thread_id", "waited_ms", "ms", "unfinished",
    "requests", "tasks", "since_ns", "waits", "worker", "server", "weather",
)  # fmt: skip

texts = st.one_of(st.sampled_from(["b1", "b1/7", "/", "b1/²", "b1/" + "9" * 5000, *HOSTILE.values()]), st.text())
numbers = st.one_of(st.integers(-5, 5), st.integers(), st.sampled_from([2**63 - 1, 2**63, -(2**63), 10**400, 10**4000]))
floats = st.one_of(st.floats(), st.sampled_from([1e308, -1e308, 5e-324]))
values = st.recursive(
    st.one_of(texts, numbers, floats, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """Make an event of one of two requests, mostly valid, with odd values in some fields."""
    more: dict[str, Any] = {"task": "shop.mail", "n": draw(st.integers(0, 2)), "status": 200, "buffered": 0}
    written = line(draw(st.integers(0, 9)), draw(st.sampled_from(NAMES)), draw(st.sampled_from(["r1", "r2"])), **more)
    fields = json.loads(written)
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=3)):
        fields[key] = draw(st.one_of(values, texts if isinstance(fields.get(key, ""), str) else numbers))
    return json.dumps(fields, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass") + b"\n"


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """Change, insert or remove a few bytes of ``data``."""
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        put = draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b"\0", b"\xef\xbb\xbf", b"\n", b"[" * 2000, b"1e999"]))
        )
        data = data[:at] + put + data[at + draw(st.integers(0, 3)) :]
    return data


journals = st.lists(events(), max_size=12).map(b"".join).flatmap(changed)


def check(data: bytes) -> None:
    """Read and show ``data`` in every way. Check for errors, unescaped characters and invalid JSON."""
    aggregator = JournalAggregator(20)
    read(io.BytesIO(data), None, aggregator)
    history = aggregator.summary()
    assert sum(history.counts.values()) == history.requests
    for width in (1, 20, 80):
        output = io.StringIO()
        Console(file=output, width=width).print(journal_report(history, encoding="utf-8"))
        assert unescaped_in(output.getvalue().encode(), "lines") == set()
    _is_json(json.dumps(history_document(history, {"fastbg": "0"}), allow_nan=False))

    printers: list[Callable[[TextIO], JournalPrinter]] = [JsonPrinter, _requests, partial(_requests, terminal=True)]
    for printer in printers:
        output = io.StringIO()
        stream = JournalStream(printer(output), [JOURNAL])
        for at in range(0, len(data), 1000):
            stream.old(JOURNAL, at, data[at : at + 1000])
        stream.end(JOURNAL)
        for at in range(0, len(data), 1000):
            stream.new(Appended(time.monotonic_ns(), JOURNAL, (1, 1), len(data) + at, data[at : at + 1000]))
        stream.close()
        assert unescaped_in(output.getvalue().encode(), "lines") == set()
        if printer is JsonPrinter:
            for shown in output.getvalue().splitlines():
                _is_json(shown)

    trace = Trace(SentRequest("r1", "GET", "/", "name"))
    events = map(read_journal_line, JournalLines().feed(data))
    trace.events = [event for event in events if event is not None and event.request_id == "r1"]
    assert RequestResult.of(trace).judgement.verdict
    assert trace.settled in (True, False)


def _requests(output: TextIO, *, terminal: bool = False) -> RequestPrinter:
    printer = RequestPrinter({}, output)
    printer._is_terminal = terminal
    return printer


def _is_json(text: str) -> None:
    json.loads(text, parse_constant=pytest.fail)
