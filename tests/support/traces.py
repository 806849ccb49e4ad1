"""Builds the trace of one request from a few times, for tests of what is made of it."""

from dataclasses import replace
from typing import Any

from fastbg.events import Event, Verdict
from fastbg.evidence.trace import Expected, ExpectedWrite, SentRequest, Trace, Witnesses, Write
from fastbg.evidence.verdict import Judgement

LOG = "/data/log.txt"
TEXT = "message\n"


def event(t_ns: int, source: str, name: str, **detail: object) -> Event:
    return Event(t_ns, source, name, "r1", detail)  # type: ignore[arg-type]  # a test names the source in plain text


def trace(*, verdict: Verdict = "response-first", writes: int = 1, journal: bool = True, has_id: bool = True) -> Trace:
    """A request that was sent at 1000 ns and expects ``writes`` times `TEXT` in `LOG`, which held 100 bytes."""
    made = Trace(
        SentRequest("r1", "POST", "http://127.0.0.1/", "notification"),
        Expected(verdict, writes=tuple(ExpectedWrite(LOG, TEXT, has_id) for _ in range(writes))),
        Witnesses(journal),
    )
    made.events.append(event(1000, "client", "request_sent", sizes={LOG: 100}))
    return made


def requested(made: Trace, **changes: Any) -> Trace:
    """These fields of the request are other ones."""
    made.request = replace(made.request, **changes)
    return made


def expecting(made: Trace, **changes: Any) -> Trace:
    """These fields of what is expected are other ones."""
    made.expected = replace(made.expected, **changes)
    return made


def answered(made: Trace, t_ns: int, *, size: int) -> Trace:
    """The client has the response at ``t_ns`` and finds `LOG` ``size`` bytes long."""
    made.events += [
        event(t_ns - 1, "client", "response_headers", status=200),
        event(t_ns, "client", "response_complete", sizes={LOG: size}),
    ]
    return made


def sent(
    made: Trace, t_ns: int, *, size: int, buffered: int | None = 0, took_ns: int = 0, after: int | None = None
) -> Trace:
    """The server had sent the response at ``t_ns``, which took it so long.

    It had found `LOG` ``size`` bytes long right before, and as long right after, or ``after`` bytes.
    """
    about: dict[str, object] = {"files": {LOG: size}, "sending_ns": t_ns - took_ns, "buffered": buffered}
    if after is not None:
        about["files_after"] = {LOG: after}
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
    """Task ``n`` was queued, and started ``took_ns`` before it ended with the event ``end``."""
    about = {"task": "app.write_log", "n": n}
    made.events.append(event(1000 + n, "server", "task_queued", **about))
    if started_ns is not None:
        made.events.append(event(started_ns, "server", "task_started", **about, where="thread"))
    if end is not None:
        made.events.append(event((started_ns or 1001) + took_ns, "server", end, **about, **detail))
    return made


def wrote(made: Trace, t_ns: int, *, offset: int, n: int = 0) -> Trace:
    """The follower saw expected write ``n`` at ``t_ns``."""
    made.expected.writes[n].writes.append(Write(LOG, TEXT, t_ns, offset, len(TEXT)))
    return made


def finished(made: Trace, t_ns: int = 9000) -> Trace:
    made.events.append(event(t_ns, "server", "request_finished", files={LOG: 200}))
    return made


def why(judgement: Judgement) -> str:
    """The reason of a verdict that has one."""
    assert judgement.reason is not None
    return judgement.reason
