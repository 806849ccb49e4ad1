"""One connection of the client: when it is used again, its phases, and its errors."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from fastbg.run import connection as connection_module
from fastbg.run.connection import Connection, ignore

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class RawServer:
    """Answers each request with ``answer``. ``opened``: number of connections. ``closed``: number of their ends."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.url = ""
        self.opened = 0
        self.closed = asyncio.Event()
        self.targets: list[str] = []

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.targets.append(head.split()[1])
                writer.write(self.answer)
                if b"close" in self.answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
        finally:
            writer.close()


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[RawServer, Connection]]:
    raw, connection = RawServer(answer), Connection(NO_TLS, None)
    server = await asyncio.start_server(raw.respond, "127.0.0.1", 0)
    raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield raw, connection
    finally:
        connection.close()
        server.close()


async def get(connection: Connection, url: str, on_phase: Callable[[str, Mapping[str, Any]], None] = ignore) -> bytes:
    async with connection.lock:
        try:
            await connection.send(httpx.Request("GET", url), on_phase)
            return b"".join([piece async for piece in connection.body(on_phase)])
        finally:
            connection.finish()


def run(work: Awaitable[None]) -> None:
    async def main() -> None:
        await work

    asyncio.run(main())


def test_open_connection_is_used_again_one_request_at_a_time() -> None:
    async def work() -> None:
        async with answering(OK) as (server, connection):
            bodies = await asyncio.gather(*(get(connection, f"{server.url}/{number}") for number in range(3)))
            assert (bodies, server.opened, server.targets) == ([b"ok"] * 3, 1, ["/0", "/1", "/2"])

    run(work())


def test_connection_that_waited_too_long_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with answering(OK) as (server, connection):
            await get(connection, server.url)
            monkeypatch.setattr(connection_module, "IDLE_S", -1)
            await get(connection, server.url)
            assert server.opened == 2

    run(work())


@pytest.mark.parametrize("more", [b"Connection: close\r\n", b"X-More: close\r\n"], ids=["said", "unsaid"])
def test_connection_that_the_server_closed_is_opened_again(more: bytes) -> None:
    async def work() -> None:
        async with answering(OK.replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n")) as (server, connection):
            assert await get(connection, server.url) == b"ok"
            if connection._streams is not None:
                while not connection._streams[0].at_eof():  # the end of the connection arrives
                    await asyncio.sleep(0)
            assert await get(connection, server.url) == b"ok"
            assert server.opened == 2

    run(work())


def test_bytes_after_a_response_are_not_the_next_one() -> None:
    async def work() -> None:
        async with answering(OK + b"HTTP/1.1 500 No\r\n\r\n") as (server, connection):
            assert await get(connection, server.url) == b"ok"
            assert await get(connection, server.url) == b"ok"
            assert server.opened == 2

    run(work())


def test_cancelled_request_closes_its_connection() -> None:
    async def work() -> None:
        async with answering(b"HTTP/1.1 200 OK\r\n\r\nendless") as (server, connection):
            sending = asyncio.create_task(get(connection, server.url))
            while not server.targets:
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await server.closed.wait()

    run(work())


def test_phases_are_in_the_order_of_the_bytes() -> None:
    phases: list[str] = []

    async def work() -> None:
        async with answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK) as (server, connection):
            await get(connection, server.url, lambda phase, info: phases.append(phase.partition(".")[2]))

    run(work())
    assert phases == [
        "send_request_headers.started",
        "receive_response_headers.complete",
        "receive_response_body.complete",
    ]


def test_refused_connection_names_the_reason() -> None:
    with socket.socket() as bound:  # to a port on which nobody listens
        bound.bind(("127.0.0.1", 0))
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{bound.getsockname()[1]}"
            with pytest.raises(httpx.ConnectError, match=r"Errno 111|All connection attempts failed"):
                asyncio.run(get(Connection(NO_TLS, None), url))


def test_url_of_another_protocol_is_refused() -> None:
    with pytest.raises(httpx.UnsupportedProtocol, match="unsupported protocol 'ftp'"):
        asyncio.run(get(Connection(NO_TLS, None), "ftp://127.0.0.1"))


def test_header_that_http_forbids_is_refused() -> None:
    async def work() -> None:
        async with answering(OK) as (server, connection):
            with pytest.raises(httpx.LocalProtocolError, match="Illegal header name"):
                await connection.send(httpx.Request("GET", server.url, headers={"a b": "c"}), ignore)
            connection.finish()
            assert await get(connection, server.url) == b"ok"

    run(work())
