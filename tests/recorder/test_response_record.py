"""When a response is sent: by the bytes that HTTP gives it."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from fastbg.recorder import response_record
from fastbg.recorder.files import RequestFiles
from fastbg.recorder.journal import Journal
from fastbg.recorder.response_record import ResponseRecord
from tests.support.journals import Fields, read

START, BODY = "http.response.start", "http.response.body"


class Transport:
    """A transport of asyncio.

    ``below``: bytes in the transport below TLS, None without TLS. ``closing``: it or the one below was told to close.
    ``state``: the kernel's state of the connection.
    """

    def __init__(self, buffered: int = 0, below: int | None = None, *, closing: bool = False, state: int = 1) -> None:
        self.buffered = buffered
        self.state = state
        self._closing = closing and below is None
        self._context = None if below is None else "TLS"
        self._ssl_protocol = self
        self._transport = self if below is None else Transport(below, closing=closing, state=state)

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self._closing

    def get_extra_info(self, name: str) -> object:
        return {"socket": self, "sslcontext": self._context}[name]

    def getsockopt(self, *_option: int) -> bytes:
        return bytes([self.state])


class Server:
    """The state of a request in a server. ``leave_at``: number of the message at which the client disconnects."""

    def __init__(self, leave_at: int | None = None) -> None:
        self.disconnected = False
        self.transport = Transport()
        self.received: list[object] = []
        self._leave_at = leave_at

    async def send(self, message: Any) -> None:
        if len(self.received) == self._leave_at:
            self.disconnected = True
        self.received.append(message)


class Uvicorn(Server):
    __module__ = "uvicorn.protocols.http"


def start(status: int = 200, **headers: object) -> Fields:
    pairs = [(name.replace("_", "-").encode(), str(value).encode()) for name, value in headers.items()]
    return {"type": START, "status": status, "headers": pairs}


def body(size: int = 0, *, more: bool = False) -> Fields:
    return {"type": BODY, "body": b"x" * size, "more_body": more}


def record(
    folder: Path,
    server: Server,
    messages: Sequence[Fields],
    *,
    method: str = "GET",
    http_version: str = "1.1",
    files: RequestFiles | None = None,
) -> list[list[str]]:
    """Send the messages, and return the names of the events after each of them, and after the end of the app."""
    journal = Journal(folder / "journal.jsonl")
    journal.open()
    scope = {"method": method, "http_version": http_version}
    response = ResponseRecord('"r"', scope, journal, files)
    names: list[list[str]] = []

    def new_names() -> list[str]:
        journal.flush()
        return [event["event"] for event in read(journal.path)][sum(map(len, names)) :]

    async def send_all() -> None:
        send = response.watch(server.send)
        for message in messages:
            await send(message)
            names.append(new_names())
        response.finish()
        names.append(new_names())

    asyncio.run(send_all())
    assert server.received == list(messages)
    return names


SENT, LOST = ["response_sent"], ["response_lost"]


@pytest.mark.parametrize(
    ("messages", "options", "expected"),
    [
        ([start(content_length=4), body(4), body()], {}, [[], SENT, []]),
        ([start(content_length=4), body(4)], {}, [[], SENT]),
        ([start(content_length=4), body(4, more=True), body(more=True), body()], {}, [[], SENT, [], []]),
        ([start(content_length=4), body(2, more=True), body(2, more=True), body()], {}, [[], [], SENT, []]),
        ([start(content_length=0), body()], {}, [SENT, []]),
        ([start(content_length=4), body(4, more=True), body(4)], {}, [[], SENT, []]),
        ([start(content_length=4), body(4)], {"method": "HEAD"}, [SENT, []]),
        ([start(), body()], {"method": "HEAD"}, [SENT, []]),
        ([start(204), body()], {}, [SENT, []]),
        ([start(304, content_length=4), body()], {}, [SENT, []]),
        ([start(205, content_length=0), body()], {}, [SENT, []]),
        ([start(), body(4, more=True), body()], {}, [[], [], SENT]),
        ([start(transfer_encoding="chunked", content_length=4), body(4, more=True), body()], {}, [[], [], SENT]),
        ([start(103), start(content_length=4), body(4)], {}, [[], [], SENT]),
        ([start(), {"type": "http.response.pathsend", "path": "/f"}], {}, [[], SENT]),
        ([start(content_length=4), {"type": "http.response.pathsend", "path": "/f"}], {}, [[], SENT]),
        ([{"type": "http.response.debug", "info": {}}, start(content_length=1), body(1)], {}, [[], [], SENT]),
        (
            [start() | {"trailers": True}, body(4), {"type": "http.response.trailers", "headers": []}],
            {},
            [[], [], SENT],
        ),
        (
            [
                start() | {"trailers": True},
                body(4),
                {"type": "http.response.trailers", "more_trailers": True},
                {"type": "http.response.trailers"},
            ],
            {},
            [[], [], [], SENT],
        ),
        ([start(content_length=4), body(4, more=True)], {}, [[], SENT]),
        ([start(content_length=1), {"type": BODY, "more_body": True}, body(1)], {}, [[], [], SENT]),
        ([start(), {"type": BODY}], {}, [[], SENT]),
        ([start(content_length=4, x_count=2), body(2, more=True), body(2)], {}, [[], [], SENT]),
    ],
    ids=str,
)
def test_response_is_sent_with_its_last_byte(
    tmp_path: Path, messages: list[Fields], options: dict[str, Any], expected: list[list[str]]
) -> None:
    assert record(tmp_path, Uvicorn(), messages, **options) == [*expected, []]
    journaled = read(tmp_path / "journal.jsonl")[0]
    assert (journaled["buffered"], "detail" in journaled) == (0, False)


@pytest.mark.parametrize(
    ("messages", "detail"),
    [
        ([start(content_length=4), body(3)], "3 bytes, announced 4"),
        ([start(content_length=4), body(5)], "5 bytes, announced 4"),
        ([start(), body(3, more=True)], "3 bytes"),
        ([start(content_length=4)], "0 bytes, announced 4"),
    ],
    ids=str,
)
def test_response_that_the_app_does_not_complete_is_not_sent(
    tmp_path: Path, messages: list[Fields], detail: str
) -> None:
    assert record(tmp_path, Uvicorn(), messages)[-1] == LOST
    assert read(tmp_path / "journal.jsonl")[0]["detail"] == f"the app did not complete the response: {detail}"


@pytest.mark.parametrize(("raised", "status", "handled"), [(404, 404, "HTTPException 404"), (404, 200, None)])
def test_response_has_the_exception_with_its_status(
    tmp_path: Path, raised: int, status: int, handled: str | None
) -> None:
    """A middleware may send the response of an exception handler when the exception is handled."""
    scope = {"method": "GET", "http_version": "1.1"}
    response = ResponseRecord('"r"', scope, Journal(tmp_path / "journal.jsonl"), None)
    response.add_http_exception(HTTPException(raised))
    asyncio.run(send_one(response, start(status)))
    assert response.handled == handled


async def send_one(response: ResponseRecord, message: Fields) -> None:
    await response.watch(Server().send)(message)


@pytest.mark.parametrize(
    ("length", "expected"), [(0, [[], SENT, []]), (1, [[], SENT, []])], ids=["without a body", "with a body"]
)
def test_server_that_keeps_the_headers_sends_them_with_the_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, expected: list[list[str]]
) -> None:
    monkeypatch.setattr(response_record, "buffers_headers", lambda connection: isinstance(connection, Uvicorn))
    assert record(tmp_path, Uvicorn(), [start(content_length=length), body(length)]) == expected


def test_connection_that_does_not_tell_who_left_has_its_response(tmp_path: Path) -> None:
    server = Uvicorn()
    del server.disconnected
    assert record(tmp_path, server, [start(content_length=1), body(1)]) == [[], SENT, []]


def test_held_bytes_are_looked_at_also_if_no_file_is_followed(tmp_path: Path) -> None:
    journal, server = Journal(tmp_path / "journal.jsonl"), Uvicorn()
    journal.open()

    class CurrentTransport(Transport):
        cycle = server

        def get_protocol(self) -> object:
            return self

    server.transport = CurrentTransport(5)
    response = ResponseRecord('"r"', {"method": "GET", "http_version": "1.1"}, journal, None)

    async def send() -> None:
        await response.watch(server.send)(start(content_length=0))

    asyncio.run(send())
    assert response.held is not None
    server.transport.buffered = 0
    response.held.look()
    journal.flush()
    held = read(journal.path)[1]
    assert (held["event"], held["buffered"], "files" in held) == ("response_held", 0, False)


def test_app_that_sends_nothing_has_no_response(tmp_path: Path) -> None:
    assert record(tmp_path, Uvicorn(), []) == [[]]


@pytest.mark.parametrize(("leave_at", "expected"), [(0, LOST), (1, LOST), (2, SENT), (3, SENT)])
def test_client_that_leaves_after_the_last_byte_has_the_response(
    tmp_path: Path, leave_at: int, expected: list[str]
) -> None:
    messages = [start(content_length=4), body(4, more=True), body(more=True), body()]
    names = record(tmp_path, Uvicorn(leave_at), messages)
    assert [name for after in names for name in after] == expected
    if expected == LOST:
        assert "detail" not in read(tmp_path / "journal.jsonl")[0]


def test_client_that_leaves_a_body_without_an_end_is_told(tmp_path: Path) -> None:
    assert record(tmp_path, Uvicorn(2), [start(), body(1, more=True), body(1, more=True)])[-1] == LOST
    assert "detail" not in read(tmp_path / "journal.jsonl")[0]


@pytest.mark.parametrize("end", [[], [body()]])
def test_other_servers_may_keep_the_last_byte(tmp_path: Path, end: list[Fields]) -> None:
    """The moment is then between the message with the last byte and the end of the app's messages."""
    server = Server()
    messages = [start(content_length=4), body(4, more=True), body(more=True), *end]
    assert record(tmp_path, server, messages)[:3] == [[], [], []]
    (sent,) = read(tmp_path / "journal.jsonl")
    assert (sent["event"], sent["buffered"]) == ("response_sent", None)
    assert sent["sending_ns"] < sent["t_ns"]
    assert "cannot ask this server" in sent["detail"]


def test_files_are_from_before_the_last_byte_of_another_server(tmp_path: Path) -> None:
    """The app may write between the message with the last byte and its last message: that is not before the byte."""
    log = tmp_path / "log.txt"
    log.touch()

    class WritingServer(Server):
        async def send(self, message: Any) -> None:
            await super().send(message)
            log.write_bytes(bytes(len(self.received)))

    messages = [start(content_length=4), body(4, more=True), body()]
    record(tmp_path, WritingServer(), messages, files=RequestFiles([str(log)]))
    (sent,) = read(tmp_path / "journal.jsonl")
    assert (sent["files"], sent["files_after"]) == ({str(log): 1}, {str(log): 3})


def test_files_that_changed_since_the_request_are_named(tmp_path: Path) -> None:
    kept, changed, moved, made, missing = files = [tmp_path / name for name in ("kept", "changed", "moved", "a", "b")]
    for file in (kept, changed, moved):
        file.write_text("same size")
    followed = RequestFiles(list(map(str, files)))
    os.utime(changed, ns=(0, 0))
    (tmp_path / "other").write_text("same size")
    (tmp_path / "other").rename(moved)
    made.touch()
    record(tmp_path, Server(), [start(content_length=1), body(1)], files=followed)
    (sent,) = read(tmp_path / "journal.jsonl")
    assert sent["changed"] == [str(changed), str(moved), str(made)]
    assert not missing.exists()
    record(tmp_path, Server(), [start(content_length=1), body(1)], files=RequestFiles(list(map(str, files))))
    assert "changed" not in read(tmp_path / "journal.jsonl")[1]


def test_response_that_ends_with_its_connection_has_no_known_end(tmp_path: Path) -> None:
    messages = [start(), body(4)]
    assert record(tmp_path, Uvicorn(), messages, http_version="1.0") == [[], SENT, []]
    (sent,) = read(tmp_path / "journal.jsonl")
    assert sent["buffered"] is None
    assert "ends with its connection" in sent["detail"]


@pytest.mark.parametrize(
    ("transport", "buffered"),
    [(Transport(7), 7), (Transport(7, 5), 12), (Transport(0, 5), 5), (Transport(0, 0), 0)],
)
def test_bytes_below_tls_are_counted(tmp_path: Path, transport: Transport, buffered: int) -> None:
    server = Uvicorn()
    server.transport = transport
    record(tmp_path, server, [start(content_length=1), body(1)])
    assert read(tmp_path / "journal.jsonl")[0]["buffered"] == buffered


class SSLProtocol:
    """A TLS protocol of uvloop: no attribute of its transport leads to it."""

    __slots__ = ("transport",)
    transport: Transport


class TCPTransport(Transport):
    pass


class UvloopTransport(Transport):
    """A transport of uvloop with TLS."""

    __slots__ = ("protocol",)
    protocol: SSLProtocol


@pytest.mark.parametrize(("below", "buffered"), [(TCPTransport(5), 12), (Transport(5), None)])
def test_bytes_below_the_tls_of_uvloop_are_counted(tmp_path: Path, below: Transport, buffered: int | None) -> None:
    server = Uvicorn()
    server.transport = transport = UvloopTransport(7, 0)
    del transport._ssl_protocol
    transport.protocol = SSLProtocol()
    transport.protocol.transport = below
    record(tmp_path, server, [start(content_length=1), body(1)])
    assert read(tmp_path / "journal.jsonl")[0]["buffered"] == buffered


ESTABLISHED, CLOSED, CLOSED_BY_CLIENT = 1, 7, 8


@pytest.mark.parametrize("below", [None, 0])
@pytest.mark.parametrize(
    ("closing", "state", "expected"),
    [
        (True, CLOSED, LOST),  # a write has failed, and the transport discards the rest
        (True, ESTABLISHED, SENT),  # uvicorn does not keep the connection
        (True, CLOSED_BY_CLIENT, SENT),
        (False, CLOSED, SENT),  # the client has reset the connection after the last byte
    ],
)
def test_bytes_that_the_transport_discards_are_not_sent(
    tmp_path: Path, closing: bool, state: int, expected: list[str], below: int | None
) -> None:
    server = Uvicorn()
    server.transport = Transport(0, below, closing=closing, state=state)
    assert record(tmp_path, server, [start(), body(1, more=True), body()])[2] == expected
