"""Builds the trace of one request from a few times, for tests of verdicts and results."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastbg.events import Event, Verdict
from fastbg.evidence.trace import Expected, ExpectedWrite, SentRequest, Trace, Witnesses, Write
from fastbg.evidence.verdict import Judgement

LOG = "/data/log.txt"
TEXT = "message\n"


def event(t_ns: int, source: str, name: str, **detail: object) -> Event:
    return Event(t_ns, source, name, "r1", detail)  # type: ignore[arg-type]  # tests pass the source as a plain string


def trace(*, verdict: Verdict = "response-first", writes: int = 1, journal: bool = True, has_id: bool = True) -> Trace:
    """Return a request sent at 1000 ns that expects `TEXT` ``writes`` times in `LOG`, which had 100 bytes."""
    made = Trace(
        SentRequest("r1", "POST", "http://127.0.0.1/", "notification"),
        Expected(verdict, writes=tuple(ExpectedWrite(LOG, TEXT, has_id) for _ in range(writes))),
        Witnesses(journal),
    )
    made.events.append(event(1000, "client", "request_sent", sizes={LOG: 100}))
    return made


def requested(made: Trace, **changes: Any) -> Trace:
    """Change these fields of the request."""
    made.request = replace(made.request, **changes)
    return made


def expecting(made: Trace, **changes: Any) -> Trace:
    """Change these fields of the expectations."""
    made.expected = replace(made.expected, **changes)
    return made


def answered(made: Trace, t_ns: int, *, size: int) -> Trace:
    """Add the response: the client has it at ``t_ns`` and sees ``size`` bytes in `LOG`."""
    made.events += [
        event(t_ns - 1, "client", "response_headers", status=200),
        event(t_ns, "client", "response_complete", sizes={LOG: size}),
    ]
    return made


def sent(
    made: Trace, t_ns: int, *, size: int, buffered: int | None = 0, took_ns: int = 0, after: int | None = None,
    changed: Sequence[str] = (),
) -> Trace:  # fmt: skip
    """Add ``response_sent``: the server finished sending at ``t_ns``; sending took ``took_ns``.

    ``size``: bytes in `LOG` right before; ``after``: right after, None for the same size. ``changed``: files.
    """
    about: dict[str, object] = {"files": {LOG: size}, "sending_ns": t_ns - took_ns, "buffered": buffered}
    if after is not None:
        about["files_after"] = {LOG: after}
    if changed:
        about["changed"] = changed
    made.events.append(event(t_ns, "server", "response_sent", status=200, **about))
    return made


def task(
    made: Trace,
    started_ns: int | None,
    end: str | None = "task_finished",
    *,
    n: int = 0,
    took_ns: int = 10,
    **detail: object,
) -> Trace:
    """Add task ``n``: queued, started at ``started_ns``, and ended ``took_ns`` later with the event ``end``."""
    about = {"task": "app.write_log", "n": n}
    made.events.append(event(1000 + n, "server", "task_queued", **about))
    if started_ns is not None:
        made.events.append(event(started_ns, "server", "task_started", **about, where="thread"))
    if end is not None:
        made.events.append(event((started_ns or 1001) + took_ns, "server", end, **about, **detail))
    return made


def wrote(made: Trace, t_ns: int, *, offset: int, n: int = 0) -> Trace:
    """Add expected write ``n``, which the follower saw at ``t_ns``."""
    made.expected.writes[n].writes.append(Write(LOG, TEXT, t_ns, offset, len(TEXT), read_ns=t_ns + 10))
    return made


def finished(made: Trace, t_ns: int = 9000) -> Trace:
    made.events.append(event(t_ns, "server", "request_finished", files={LOG: 200}))
    return made


def why(judgement: Judgement) -> str:
    """Return the reason of a verdict, which must have one."""
    assert judgement.reason is not None
    return judgement.reason
