"""Finds files that were created or deleted during a request. Pure: it compares what was seen of a file at two moments.

The client and the server read the sizes of the files that exist, and the follower sees files appear and vanish. What
client and follower saw is in the order of one clock of one process, and so is what the server saw. Times of client and
server are not compared.
"""

from collections.abc import Iterable, Iterator, Mapping

from fastbg.events import FILE_SEEN, Event
from fastbg.evidence.trace import Change, Trace, Write

LOOKS = frozenset(("request_sent", "response_complete", "response_sent", "request_finished", FILE_SEEN))
"""The events that say which files exist. A request may have 100,000 others."""

Look = tuple[int, bool, bool]  # monotonic ns; whether the file existed; whether it had replaced another one


def find_changes(trace: Trace) -> None:
    """Add the expected creations and deletions that the events of ``trace`` show by now."""
    for expected in trace.expected.writes:
        if expected.change is None or expected.writes:
            continue
        for looks in (_from_client(trace, expected.file), _from_server(trace, expected.file)):
            t_ns = _changed_ns(looks, expected.change)
            if t_ns is not None:
                expected.writes.append(
                    Write(expected.file, "", t_ns, 0, 0, change=expected.change, shared=expected.shared)
                )
                break


def is_changed_before(trace: Trace, file: str, change: Change, sizes: Mapping[str, int]) -> bool:
    """Return whether ``file`` was certainly changed before the server read these ``sizes`` of the existing files."""
    sent, exists = trace.find("request_sent"), file in sizes
    if sent is None or not (exists or trace.witnesses.all_files):
        return False
    return _changed_ns([*_in_event(sent, file), (0, exists, False)], change) is not None


def is_changed_after(trace: Trace, file: str, change: Change, complete: Event) -> bool:
    """Return whether ``file`` was certainly changed after the client read the file sizes of the event ``complete``."""
    later = [(t_ns, exists, False) for t_ns, exists, _ in _from_client(trace, file) if t_ns >= complete.t_ns]
    return _changed_ns(later, change) is not None


def was_seen(trace: Trace, file: str) -> bool:
    """Return whether ``file`` existed at some moment since the request was sent."""
    return any(exists for looks in (_from_client, _from_server) for _, exists, _ in looks(trace, file))


def _changed_ns(looks: Iterable[Look], change: Change) -> int | None:
    """Return the time of the first look that shows the ``change``."""
    before: bool | None = None
    for t_ns, exists, is_new in looks:
        created = exists and (is_new or before is False)
        if created if change == "created" else before and not exists:
            return t_ns
        before = exists
    return None


def _from_client(trace: Trace, file: str) -> list[Look]:
    sent_ns = trace.time("request_sent") or 0
    events = (event for event in trace.events if event.source != "server" and event.t_ns >= sent_ns)
    return sorted(look for event in events for look in _in_event(event, file))


def _in_event(event: Event, file: str) -> Iterator[Look]:
    detail = event.detail
    if "sizes" in detail:
        yield event.t_ns, file in detail["sizes"], False
    elif event.name == FILE_SEEN and detail["file"] == file:
        yield event.t_ns, detail["exists"], detail["replaced"]


def _from_server(trace: Trace, file: str) -> Iterator[Look]:
    sent = trace.find("request_sent")  # before everything that the server does
    if sent is not None:
        yield from _in_event(sent, file)
    for name in ("response_sent", "request_finished"):
        event = trace.find(name)
        for files in ("files", "files_after"):
            if event is not None and files in event.detail:
                exists = file in event.detail[files]
                if exists or trace.witnesses.all_files:
                    yield event.t_ns, exists, False
