"""Files that were created or deleted during a request."""

import pytest

from fastbg.events import FILE_SEEN
from fastbg.evidence.existence import find_changes, was_seen
from fastbg.evidence.trace import Change, ExpectedWrite, Trace
from fastbg.evidence.verdict import judge
from tests.support.traces import LOG, event, expecting, task, trace, why


def made(change: Change, at_sending: bool) -> Trace:
    """Return a request, sent at 1000 ns, that expects `LOG` to change. ``at_sending``: whether it existed then."""
    request = expecting(trace(), writes=(ExpectedWrite(LOG, "", False, change=change),))
    request.events = [event(1000, "client", "request_sent", sizes=sizes(at_sending))]
    request.witnesses.all_files = True
    return request


def sizes(exists: bool) -> dict[str, int]:
    return {LOG: 5} if exists else {}


def seen(request: Trace, t_ns: int, *, exists: bool, replaced: bool = False) -> None:
    request.events.append(event(t_ns, "file", FILE_SEEN, file=LOG, exists=exists, replaced=replaced))


def sent(request: Trace, *, exists: bool, after: bool | None = None) -> None:
    more = {} if after is None else {"files_after": sizes(after)}
    about = {"files": sizes(exists), "sending_ns": 1900, "buffered": 0}
    request.events.append(event(1900, "server", "response_sent", status=200, **about, **more))


def answered(request: Trace, *, exists: bool) -> None:
    request.events.append(event(2000, "client", "response_headers", status=200))
    request.events.append(event(2000, "client", "response_complete", sizes=sizes(exists)))


def verdict(request: Trace, *, exists: bool) -> tuple[str, tuple[str, ...]]:
    """Return the verdict after the request has ended. ``exists``: whether the file exists then."""
    task(request, 1950).events.append(event(9000, "server", "request_finished", files=sizes(exists)))
    find_changes(request)
    judgement = judge(request)
    return judgement.verdict, judgement.evidence


@pytest.mark.parametrize(("change", "exists"), [("created", False), ("deleted", True)])
def test_later_change_is_proved_by_client_and_server(change: Change, exists: bool) -> None:
    request = made(change, exists)
    sent(request, exists=exists)
    answered(request, exists=exists)
    seen(request, 3000, exists=not exists)
    assert verdict(request, exists=not exists) == ("response-first", ("client+file", "server"))
    assert [(write.change, write.t_ns) for write in request.writes] == [(change, 3000)]
    assert [(write.text, write.offset, write.length) for write in request.writes] == [("", 0, 0)]


@pytest.mark.parametrize(("change", "exists"), [("created", False), ("deleted", True)])
def test_change_before_the_response_is_work_first(change: Change, exists: bool) -> None:
    request = made(change, exists)
    sent(request, exists=not exists)
    answered(request, exists=not exists)
    assert verdict(request, exists=not exists) == ("work-first", ("file+server",))
    assert why(judge(request)) == f"log.txt was already {change} when the response was sent"


@pytest.mark.parametrize(("change", "exists"), [("created", False), ("deleted", True)])
def test_instant_change_rests_on_the_servers_order_alone(change: Change, exists: bool) -> None:
    request = made(change, exists)
    sent(request, exists=exists)
    answered(request, exists=not exists)
    assert verdict(request, exists=not exists) == ("response-first", ("server",))
    assert why(judge(request)).startswith(f"when the client had the response, log.txt may already have been {change}; ")


def test_change_during_the_send_proves_no_order() -> None:
    request = made("deleted", True)
    sent(request, exists=True, after=False)
    answered(request, exists=False)
    assert verdict(request, exists=False) == ("unproven", ())


def test_file_from_the_endpoint_is_deleted_by_the_task() -> None:
    """The client never sees it: it does not exist when the request is sent, and not after the task."""
    request = made("deleted", False)
    assert not was_seen(request, LOG)
    sent(request, exists=True)
    assert was_seen(request, LOG)
    answered(request, exists=False)
    assert verdict(request, exists=False) == ("response-first", ("server",))


def test_file_that_did_not_exist_yet_was_not_deleted() -> None:
    request = made("deleted", False)
    sent(request, exists=False)
    answered(request, exists=False)
    seen(request, 2500, exists=True)
    seen(request, 3000, exists=False)
    assert verdict(request, exists=False) == ("response-first", ("client+file", "server"))


def test_file_that_replaced_another_is_created() -> None:
    request = made("created", True)
    sent(request, exists=True)
    answered(request, exists=True)
    seen(request, 3000, exists=True, replaced=True)
    assert verdict(request, exists=True) == (
        "response-first",
        ("server",),
    )  # the client may have seen the old file


def test_what_was_seen_before_the_request_does_not_count() -> None:
    request = made("created", True)
    seen(request, 900, exists=False)
    find_changes(request)
    assert not request.writes


def test_file_that_a_server_does_not_follow_was_not_deleted() -> None:
    request = made("deleted", True)
    request.witnesses.all_files = False
    sent(request, exists=False)
    answered(request, exists=True)
    seen(request, 3000, exists=False)
    assert verdict(request, exists=False) == ("response-first", ("client+file", "server"))


def test_server_does_not_see_the_deletion_of_a_file_elsewhere() -> None:
    request = made("deleted", True)
    request.witnesses.all_files = False
    sent(request, exists=False)
    answered(request, exists=True)
    assert verdict(request, exists=False)[0] == "lost"


def test_file_that_only_the_server_saw_was_created() -> None:
    request = made("created", False)
    sent(request, exists=False, after=True)
    answered(request, exists=False)
    assert verdict(request, exists=False) == ("unproven", ())
    assert [write.t_ns for write in request.writes] == [1900]


def test_file_that_the_task_deletes_again_was_created_before() -> None:
    """The client never sees it, and the server sees it only when it sends the response."""
    request = made("created", False)
    sent(request, exists=True)
    answered(request, exists=False)
    assert verdict(request, exists=False) == ("work-first", ("file+server",))
    assert [write.t_ns for write in request.writes] == [1900]


def test_file_that_only_the_client_saw_was_created() -> None:
    request = made("created", False)
    request.witnesses.all_files = False
    answered(request, exists=True)
    find_changes(request)
    assert [write.t_ns for write in request.writes] == [2000]


def test_shared_change_rests_on_the_servers_order_alone() -> None:
    request = made("created", False)
    request.expected.writes[0].shared = True
    sent(request, exists=True)  # by the other request
    answered(request, exists=False)
    seen(request, 3000, exists=True)
    assert verdict(request, exists=True) == ("response-first", ("server",))
    assert why(judge(request)).startswith("another request may have created or deleted the same file at the same time")


@pytest.mark.parametrize(
    ("change", "exists", "reason"),
    [
        ("created", False, "log.txt was not created"),
        ("created", True, "log.txt was not created: it existed before the request"),
        ("deleted", True, "log.txt was not deleted"),
    ],
)
def test_change_that_did_not_come_is_lost(change: Change, exists: bool, reason: str) -> None:
    request = made(change, exists)
    sent(request, exists=exists)
    answered(request, exists=exists)
    assert verdict(request, exists=exists)[0] == "lost"
    assert judge(request).reason == reason
