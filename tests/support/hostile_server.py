"""A server that responds with given bytes, valid HTTP or not. `tests.run.test_client` uses it."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from tests.support.processes import PATIENCE_S, peak_memory_mib

RawResponse: TypeAlias = "bytes | Callable[[asyncio.StreamWriter], Coroutine[None, None, None]]"

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


async def run_until_disconnect(reader: asyncio.StreamReader, responding: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(responding)
    try:
        while await reader.read(65536):
            pass
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextmanager
def respond_with(responses: Mapping[str, RawResponse], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Start a server with a raw response per path, which closes the connection after it. Yield the URL.

    Other paths get status 204. At the end the test fails if a connection is still open.
    """
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    listening = threading.Event()
    open_connections: set[asyncio.Task[None]] = set()
    url = ""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
                first = await reader.readexactly(1)
                head = await reader.readuntil(b"\r\n\r\n") if first.isalpha() else b"- /no-http"
                response = responses.get(head.split()[1].decode(), NO_CONTENT)
                if isinstance(response, bytes):
                    writer.write(response)
                    await writer.drain()
                else:
                    await run_until_disconnect(reader, response(writer))
        finally:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
            open_connections.discard(task)

    async def serve() -> None:
        nonlocal url
        server = await asyncio.start_server(respond, "127.0.0.1", 0, ssl=context)
        async with server:
            url = f"http{'s' if context else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            listening.set()
            await stopping.wait()
            if open_connections:  # the client has closed its side: the server will notice soon
                await asyncio.wait(open_connections, timeout=PATIENCE_S)
            assert not open_connections

    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        listening.wait()
        yield url
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


def peak_memory_of_body(folder: Path, mib: int) -> tuple[float, bytes]:
    """Return the peak memory in MiB of a demo that receives a body of ``mib`` MiB, and its JSON document."""

    async def long(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % (mib * 2**20))
        for _ in range(mib):
            writer.write(bytes(2**20))
            await writer.drain()

    script = folder / "long.toml"
    with respond_with({"/long": long}) as url:
        expect = 'expect.verdict = "unproven"\ntimeout = 600'
        script.write_text(f'url = "{url}"\n[[request]]\nname = "long"\npath = "/long"\n{expect}\n')
        return peak_memory_mib("demo", "--json", script, "--dir", folder / "data")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        for mib in (0, 1, 1024):
            print(f"a body of {mib} MiB: peak memory {peak_memory_of_body(Path(folder), mib)[0]:.1f} MiB")
