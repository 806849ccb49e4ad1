"""Sends requests of all shapes to a server, and compares the verdicts of fastbg with the kernel.

`fastbg demo` sends most of them and gives its verdict. A client of our own sends the others: then only the server is a
witness, as in `fastbg report`. That verdict is compared for all requests.
"""

import asyncio
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastbg.data_folder import journal_of
from fastbg.evidence.history import JournalAggregator
from fastbg.evidence.verdict import Judgement
from fastbg.recorder.journal_lines import read_journal_line
from fastbg.recorder.request_ids import id_of_request, new_run
from fastbg.run.options import RunOptions
from fastbg.run.runner import Runner
from fastbg.scripting.reader import read_script
from fastbg.server.settings import ServerSettings
from tests.truth.client import ask
from tests.truth.kernel import TracedRequest, Tracing
from tests.truth.orders import Compared, Truth
from tests.truth.servers import RunningServer
from tests.truth.shapes import SCRIPT, Shape

BATCH = 500  # requests in one run, so that the trace fits into its buffer
CONCURRENCY = 8
LIMIT_S = 20.0  # under granian, work that follows the last byte may be cancelled, and its write never comes
QUIET_S = 5.0  # without a new event: under granian the app's call never ends if the client closes in the middle


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was sent. ``complete``: the client has the complete response. ``said``: by `fastbg demo`."""

    shape: Shape
    complete: bool
    said: Judgement | None = None


def compare(server: RunningServer, tracing: Tracing, shapes: Sequence[Shape], repeat: int) -> Iterator[Compared]:
    """Send each of ``shapes`` ``repeat`` times. Yield each verdict with what the kernel saw."""
    journal = journal_of(server.folder)
    most = max(BATCH // len(shapes), 1)
    for done in range(0, repeat, most):
        numbers = range(done, min(done + most, repeat))
        tracing.clear()
        begin = journal.stat().st_size if journal.exists() else 0
        sent = _send_script(server, [shape for shape in shapes if shape.client is None], len(numbers))
        sent |= _send_raw(server, [shape for number in numbers for shape in shapes if _is_due(shape, number)])
        yield from _compared(server, sent, _recorded(journal, begin, sent.keys()), tracing.read())


def _is_due(shape: Shape, number: int) -> bool:
    """Return whether the client of our own sends ``shape`` in this repetition."""
    return shape.client is not None and int((number + 1) * shape.share) > int(number * shape.share)


def _compared(
    server: RunningServer,
    sent: Mapping[str, Sent],
    recorded: Mapping[str, Judgement],
    traced: Mapping[str, TracedRequest],
) -> Iterator[Compared]:
    for request_id, each in sent.items():
        truth = Truth.of(each.shape, traced[request_id], complete=each.complete, tls=server.server.tls)
        if each.said:
            yield Compared(each.shape.name, "demo", each.said, truth, request_id)
        yield Compared(each.shape.name, "report", recorded[request_id], truth, request_id)


def _send_script(server: RunningServer, shapes: Sequence[Shape], repeat: int) -> dict[str, Sent]:
    """Send ``shapes`` with `fastbg demo`. Return the requests by id."""
    if not shapes:
        return {}
    by_name = {shape.name: shape for shape in shapes}
    text = SCRIPT % server.url + "".join(shape.in_script for shape in shapes)
    source = read_script(text, "truth.toml", server.folder, {})
    base = ServerSettings("", directory=server.folder)
    options = RunOptions(server.folder, LIMIT_S, base, os.environ, repeat=repeat, concurrency=min(CONCURRENCY, repeat))
    with _trusting(server.authority):
        results = asyncio.run(Runner(source, options, None).run()).requests
    return {
        result.trace.request_id: Sent(
            by_name[result.trace.name], result.trace.find("response_complete") is not None, result.judgement
        )
        for result in results
    }


@contextmanager
def _trusting(authority: Path) -> Iterator[None]:
    """Let httpx trust ``authority``, if this file exists."""
    if not authority.exists():
        yield
        return
    os.environ["SSL_CERT_FILE"] = str(authority)
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]


def _send_raw(server: RunningServer, shapes: Sequence[Shape]) -> dict[str, Sent]:
    """Send ``shapes`` with the client of our own. Return the requests by id."""
    run, tls = new_run(), server.tls
    request_ids = [id_of_request(run, number, 6) for number in range(len(shapes))]
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        complete = threads.map(lambda shape, request_id: ask(server.url, shape, request_id, tls), shapes, request_ids)
        return {each: Sent(shape, whole) for each, shape, whole in zip(request_ids, shapes, complete, strict=True)}


def _recorded(journal: Path, begin: int, request_ids: Collection[str]) -> dict[str, Judgement]:
    """Return the verdicts of `fastbg report`, when the journal has the end of each request."""
    size, grown_s = 0, time.monotonic()
    while True:
        with journal.open("rb") as file:
            file.seek(begin)
            lines = file.read().splitlines(keepends=True)
        if len(lines) > size:
            size, grown_s = len(lines), time.monotonic()
        aggregator = JournalAggregator(last=len(lines))
        for line in lines:
            if (event := read_journal_line(line)) is not None:
                aggregator.add(event, len(line))
        unfinished = {request_id for _, request_id in aggregator.unfinished}
        judged = {each.request_id: each.judgement for each in aggregator.summary().last}
        if judged.keys() - unfinished >= set(request_ids) or time.monotonic() > grown_s + QUIET_S:
            return judged
        time.sleep(0.1)
