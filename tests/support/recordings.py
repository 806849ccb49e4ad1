"""Writes journals as a server does: a few lines for a test of the reader, or very many."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TASK: dict[str, Any] = {"task": "shop.mail", "n": 0}
MS = 10**6
EVENTS_PER_REQUEST = 6


def line(t_ms: float, event: str, request: str | None = "r1", *, boot: str = "b1", pid: int = 7, **more: Any) -> bytes:
    """Return one line of a journal with the monotonic time ``t_ms``."""
    about = {"t_ns": int(t_ms * MS), "wall_ns": 1_700_000_000 * 10**9, "boot": boot, "pid": pid, "event": event}
    return json.dumps({**about, "request": request, **more}).encode() + b"\n"


def received(t_ms: float = 1000, request: str = "r1", **more: Any) -> bytes:
    return line(t_ms, "request_received", request, **({"method": "POST", "path": "/mail"} | more))


def sent(t_ms: float = 1002, request: str = "r1", **more: Any) -> bytes:
    fields = {"status": 200, "bytes": 2, "sending_ns": int(t_ms * MS), "buffered": 0}
    return line(t_ms, "response_sent", request, **(fields | more))


def mail(t_ms: float = 1003, request: str = "r1", **more: Any) -> bytes:
    """Return the lines of a request with a response after 2 ms and a task that starts at ``t_ms`` and takes 500 ms."""
    return b"".join(
        (
            received(1000, request, **more),
            line(1001, "task_queued", request, **TASK, **more),
            sent(1002, request, **more),
            line(t_ms, "task_started", request, **TASK, where="thread", **more),
            line(t_ms + 500, "task_finished", request, **TASK, **more),
            line(t_ms + 501, "request_finished", request, **more),
        )
    )


def write_long_journal(path: Path, requests: int) -> None:
    """Write requests of four processes, eight of them open at a time. Each 100th fails, each 1000th never ends."""
    with path.open("w", encoding="ascii") as journal:
        journal.writelines(_long(requests))


def _long(requests: int) -> Iterator[str]:
    task = ',"task":"fastbg.example.app.write_log","n":0'
    ends: list[str] = []
    for number in range(requests):
        process = f'"wall_ns":1700000000000000000,"boot":"b1","pid":{7 + number % 4}'
        about = f'{process},"request":"{number:032x}","event":'
        t = 10**12 + number * 10**6
        yield (
            f'{{"t_ns":{t},{about}"request_received","method":"POST","path":"/send-notification/a@b.c"}}\n'
            f'{{"t_ns":{t + 100_000},{about}"task_queued"{task}}}\n'
            f'{{"t_ns":{t + 200_000},{about}"response_sent","status":200,"bytes":26,"buffered":0}}\n'
            f'{{"t_ns":{t + 300_000},{about}"task_started"{task},"where":"thread"}}\n'
        )
        how = '"task_failed"' + task + ',"error":"ValueError: no"' if number % 100 == 99 else '"task_finished"' + task
        end = f'{{"t_ns":{t + 8_300_000},{about}{how}}}\n{{"t_ns":{t + 8_400_000},{about}"request_finished"}}\n'
        ends.append("" if number % 1000 == 500 else end)
        if len(ends) == 8:
            yield ends.pop(0)
    yield from ends
