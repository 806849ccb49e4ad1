"""A server as a child process: `ServerProcess` starts it, `ServerMonitor` watches it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from fastbg.errors import ServerDied, ServerError
from fastbg.server.child import FastShutdownServer
from fastbg.server.listener import bind
from fastbg.server.monitor import LINE_BYTES, LINES, ServerMonitor
from fastbg.server.process import ServerProcess
from fastbg.server.settings import ServerSettings
from tests.support.journals import events_of
from tests.support.processes import PATIENCE_S, is_alive, read_until, wait_until
from tests.support.servers import NO_TLS, fetch

APP = """
import os, sys, time
from contextlib import asynccontextmanager
from fastapi import BackgroundTasks, FastAPI

@asynccontextmanager
async def lifespan(app):
    {startup}
    yield

app = FastAPI(lifespan=lifespan)

def work(file: str):
    while not os.path.exists(file + ".now"):
        time.sleep(0.005)
    open(file, "a").write("done")

@app.get("/work")
async def start(tasks: BackgroundTasks, file: str):
    tasks.add_task(work, file)

@app.get("/close")
async def close(file: str):
    # The status, which the app does not know: its number is now that of a file.
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), int(sys.argv[2]))

@app.get("/print")
async def say(lines: int, length: int):
    for number in range(lines):
        print(str(number) * length, file=sys.stderr)
"""


def settings(folder: Path, startup: str = "pass") -> ServerSettings:
    (folder / "own.py").write_text(APP.format(startup=startup))
    return ServerSettings("own:app", directory=folder, app_dir=folder)


@asynccontextmanager
async def serving(folder: Path, startup: str = "pass", stop_s: float = PATIENCE_S) -> AsyncIterator[ServerMonitor]:
    with ServerProcess(settings(folder, startup)) as child:
        async with ServerMonitor(child, stop_s=stop_s) as server:
            yield server


async def get(server: ServerMonitor, path: str, **query: str | float) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url, verify=NO_TLS, trust_env=False, timeout=PATIENCE_S) as client:
        return await client.get(path, params=query, headers={"X-Fastbg-Request-ID": path})


async def start_work(server: ServerMonitor, folder: Path) -> None:
    """Start a task in a thread that writes ``written`` when ``written.now`` exists."""
    await get(server, "/work", file=str(folder / "written"))
    await asyncio.to_thread(events_of, folder / "journal.jsonl", "/work", until="task_started")


async def until_output(server: ServerMonitor, text: str) -> None:
    """Wait until a line of the server's output contains ``text``."""
    while not any(text in line for line in server.stderr_tail()):
        await asyncio.sleep(0.01)


async def let_it_finish(server: ServerMonitor, folder: Path) -> None:
    """Let the task of `start_work` end as soon as the server waits for it."""
    await until_output(server, "Waiting for background tasks to complete")
    (folder / "written.now").touch()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await test()

    asyncio.run(bounded())


def test_a_request_can_be_sent_before_the_server_has_started(tmp_path: Path) -> None:
    async def test() -> None:
        startup = f"while not os.path.exists({str(tmp_path / 'sent')!r}): time.sleep(0.005)"
        async with serving(tmp_path, startup=startup) as server:
            host, _, port = server.url.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /print?lines=0&length=0 HTTP/1.1\r\nHost: x\r\nX-Fastbg-Request-ID: /print\r\n")
            writer.write(b"Connection: close\r\n\r\n")
            await writer.drain()
            (tmp_path / "sent").touch()
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
            await server.ready()

    run(test)
    assert events_of(tmp_path / "journal.jsonl", "/print")


def test_the_end_of_the_block_lets_running_tasks_finish(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as server:
            await start_work(server, tmp_path)
            finishing = asyncio.create_task(let_it_finish(server, tmp_path))
        await finishing

    run(test)
    assert (tmp_path / "written").read_text() == "done"


def test_a_task_that_takes_too_long_is_killed_with_the_server(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, stop_s=0.3) as server:
            await start_work(server, tmp_path)
        assert server.returncode == -signal.SIGKILL

    run(test)
    assert not (tmp_path / "written").exists()


def test_app_that_closes_the_status_goes_on_and_keeps_its_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as server:
            await get(server, "/close", file=str(tmp_path / "own.txt"))
            dying = asyncio.create_task(server.died())
            await start_work(server, tmp_path)
            assert not dying.done()
            finishing = asyncio.create_task(let_it_finish(server, tmp_path))
            await server.stop(PATIENCE_S)
            await finishing
            assert (await dying).what == "the server ended with exit code 0"

    run(test)
    assert (tmp_path / "written").read_text() == "done"
    assert (tmp_path / "own.txt").read_bytes() == b""


def test_end_is_seen_although_a_child_of_the_app_is_left(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, startup="os.fork() or time.sleep(1000)") as server:  # the child has its status
            await server.ready()
            server.send(signal.SIGKILL)
            assert (await server.died()).what == "the server was killed by SIGKILL"
            async with asyncio.timeout(PATIENCE_S / 2):  # nothing is left to wait for
                await server.stop(PATIENCE_S)

    run(test)


def test_startup_that_closes_the_status_ends_at_its_limit(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, startup="os.close(int(sys.argv[2]))", stop_s=0.1) as server:
            with pytest.raises(ServerError, match=r"the server did not start up within 0\.5 s"):
                await server.ready(0.5)

    run(test)


def test_a_cancelled_monitor_ends_the_server(tmp_path: Path) -> None:
    pids: list[int] = []

    async def watch() -> None:
        async with serving(tmp_path) as server:
            await server.ready()
            pids.append(server.pid)
            await asyncio.sleep(PATIENCE_S)

    async def test() -> None:
        task = asyncio.create_task(watch())
        while not pids:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(test)
    assert not is_alive(pids[0])


@pytest.mark.parametrize(
    ("code", "what", "where"),
    [
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'", "own.py:1"),
        ("\napp = 1 / 0", "ZeroDivisionError: division by zero", "own.py:2"),
        ("application = print", "the module own has no attribute 'app'", "own.py"),
    ],
)
def test_an_app_that_does_not_load_is_an_error_in_three_parts(tmp_path: Path, code: str, what: str, where: str) -> None:
    async def test() -> None:
        prepared = settings(tmp_path)
        (tmp_path / "own.py").write_text(code)
        with ServerProcess(prepared) as child:
            async with ServerMonitor(child) as server:
                with pytest.raises(ServerDied) as caught:
                    await server.ready()
        assert what in caught.value.what
        assert where in caught.value.where
        assert caught.value.remedy
        assert caught.value.stderr == []

    run(test)


def test_failed_startup_shows_the_last_output(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, startup="raise OSError('no database')") as server:
            with pytest.raises(ServerDied) as caught:
                await server.ready()
        assert caught.value.what == "the server ended with exit code 3"
        assert "OSError: no database" in caught.value.stderr

    run(test)


def test_a_startup_that_hangs_is_an_error(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path, startup="time.sleep(3600)", stop_s=0) as server:
            with pytest.raises(ServerError, match="did not start up within"):
                await server.ready(0.5)

    run(test)


@pytest.mark.parametrize(("number", "written"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_sigterm_kills_an_abandoned_thread_as_uvicorn_does(
    tmp_path: Path, number: signal.Signals, written: bool
) -> None:
    async def test() -> None:
        prepared = replace(settings(tmp_path), options=(("timeout_graceful_shutdown", 0),))
        with ServerProcess(prepared) as child:
            async with ServerMonitor(child) as server:
                await start_work(server, tmp_path)
                server.send(number)
                if written:
                    await until_output(server, "Finished server process")
                    (tmp_path / "written.now").touch()
                died = await server.died()
        assert died.what == f"the server {'ended with exit code 0' if written else 'was killed by SIGTERM'}"
        assert any("Finished server process" in line for line in died.stderr)

    run(test)
    assert (tmp_path / "written").exists() == written


def test_a_signal_after_the_end_of_the_event_loop_does_nothing() -> None:
    server = FastShutdownServer(uvicorn.Config(FastAPI(), log_config=None), lambda: None)
    with bind("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        wait_until(lambda: server.started)
        for _ in range(2):
            server.handle_exit(signal.SIGINT, None)
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_killed_server_is_reported_and_refuses_connections(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as server:
            await server.ready()
            os.kill(server.pid, signal.SIGKILL)
            died = await server.died()
            assert died.what == "the server was killed by SIGKILL"
            assert any("startup complete" in line for line in died.stderr)
            with pytest.raises(httpx.ConnectError):
                await get(server, "/print", lines=0, length=0)
            assert (await server.failure()).what == died.what

    run(test)


def test_only_the_last_lines_of_the_output_are_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as server:
            await get(server, "/print", lines=500, length=5000)
            await until_output(server, "499499")
            tail = server.stderr_tail()
            assert len(tail) <= LINES + 1
            assert max(map(len, tail)) <= LINE_BYTES

    run(test)


def test_all_output_is_passed_on_as_it_arrives(tmp_path: Path) -> None:
    pieces: list[bytes] = []

    async def test() -> None:
        with ServerProcess(settings(tmp_path)) as child:
            async with ServerMonitor(child, stop_s=PATIENCE_S, on_output=pieces.append) as server:
                await get(server, "/print", lines=500, length=5000)

    run(test)
    output = b"".join(pieces)
    assert all(str(number).encode() * 5000 + b"\n" in output for number in range(500))
    assert b"Finished server process" in output.splitlines()[-1]


def test_endless_output_does_not_hold_up_the_reader(tmp_path: Path) -> None:
    class Child:
        def __init__(self, output: int) -> None:
            self.output = output

    with open("/dev/zero", "rb") as endless:
        server = ServerMonitor(Child(endless.fileno()))  # type: ignore[arg-type]  # the used attribute only
        assert server.read_stderr_tail() == ["\0" * LINE_BYTES]


def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    settings(tmp_path)
    program = """
import sys, time
from pathlib import Path
from fastbg.server.process import ServerProcess
from fastbg.server.settings import ServerSettings
folder = Path(sys.argv[1])
with ServerProcess(ServerSettings("own:app", directory=folder, app_dir=folder)) as child:
    print(child.process.pid, child.url, flush=True)
    time.sleep(3600)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        try:
            pid, url = read_until(parent.stdout, rb"\n").decode().split()
            assert fetch("GET", f"{url}/print?lines=0&length=0").status_code == 200
            assert is_alive(int(pid))
        finally:
            parent.kill()
    wait_until(lambda: not is_alive(int(pid)))


@pytest.mark.usefixtures("new_interpreters")
def test_a_server_needs_neither_typer_nor_rich(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import sys\nloaded = sorted({'typer', 'rich', 'httpx', 'pydantic'} & sys.modules.keys())\n"
        "assert not loaded, loaded\n"
        "async def app(scope, receive, send):\n    assert scope['type'] != 'lifespan'\n"
    )

    async def test() -> None:
        with ServerProcess(ServerSettings("own:app", directory=tmp_path, app_dir=tmp_path)) as child:
            async with ServerMonitor(child) as server:
                await server.ready()

    run(test)
