"""The server under test: start, requests, end by a signal, and end by itself."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from fastbg.evidence.observer import Observer
from fastbg.follow.follower import Follower
from fastbg.run.target import TargetServer
from fastbg.server.settings import ServerSettings
from tests.support.processes import PATIENCE_S, is_alive

APP = """
import os
from fastapi import FastAPI
app = FastAPI()

@app.get("/end")
async def end():
    print("enough", flush=True)
    os._exit(7)
"""

Test = Callable[[TargetServer, asyncio.TaskGroup, ServerSettings], Awaitable[None]]


def run(folder: Path, test: Test) -> None:
    (folder / "own.py").write_text(APP)
    settings = ServerSettings("own:app", directory=folder, files=(), app_dir=folder)
    observer = Observer([], settings.journal, "x", lambda trace: None, has_all_sizes=True)

    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S), Follower(observer.paths) as follower, asyncio.TaskGroup() as group:
            following = group.create_task(observer.follow(follower))
            async with TargetServer(observer, None) as server:
                await test(server, group, settings)
            assert server.client is None
            following.cancel()

    asyncio.run(bounded())


async def ended(server: TargetServer) -> None:
    while not server.gone:
        await asyncio.sleep(0.01)


def test_started_server_serves_its_settings_and_is_gone(tmp_path: Path) -> None:
    async def test(server: TargetServer, group: asyncio.TaskGroup, settings: ServerSettings) -> None:
        assert not server.serves(settings)
        client = await server.start(settings, group)
        assert await client.reach("x-1") is None
        assert server.serves(settings)
        assert not server.serves(replace(settings, work=9))
        assert server.child is not None
        pid = server.child.process.pid
        await server.stop()
        assert not is_alive(pid)
        assert not server.serves(settings)

    run(tmp_path, test)


def test_signal_of_the_script_is_the_reason_of_the_end(tmp_path: Path) -> None:
    async def test(server: TargetServer, group: asyncio.TaskGroup, settings: ServerSettings) -> None:
        await (await server.start(settings, group)).reach("x-1")
        assert server.refusal is None
        server.send(signal.SIGKILL)
        assert server.refusal == "the script sent SIGKILL to the server"
        await ended(server)
        assert (server.gone, server.stopped) == ("the script sent SIGKILL to the server", None)

    run(tmp_path, test)


def test_server_that_ends_by_itself_says_how_and_what_it_wrote(tmp_path: Path) -> None:
    async def test(server: TargetServer, group: asyncio.TaskGroup, settings: ServerSettings) -> None:
        client = await server.start(settings, group)
        await client.reach("x-1")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.child.url.rpartition(":")[2]))  # type: ignore[union-attr]  # started above
        writer.write(b"GET /end HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.read()
        writer.close()
        await ended(server)
        assert server.stopped == "the server ended with exit code 7"
        assert "enough" in server.stderr

    run(tmp_path, test)
