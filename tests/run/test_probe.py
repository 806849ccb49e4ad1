"""Probes: whether a server responds, and whether the followed journal belongs to it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fastbg.evidence import observer as module
from fastbg.evidence.observer import Observer
from fastbg.follow.follower import Follower
from fastbg.run import probe
from fastbg.run.client import Client
from fastbg.run.probe import Prober
from tests.support.processes import PATIENCE_S
from tests.support.servers import fastbg_serve

SHORT_S = 0.05  # timeout for events that never arrive


def run(url: str, folder: Path, test: Callable[[Prober, Client, Observer], Awaitable[None]]) -> None:
    observer = Observer([], folder / "journal.jsonl", "x", lambda trace: None, has_all_sizes=True)

    async def bounded() -> None:
        async with (
            asyncio.timeout(2 * PATIENCE_S),
            Follower(observer.paths) as follower,
            Client(url, observer.file_sizes) as client,
            asyncio.TaskGroup() as group,
        ):
            following = group.create_task(observer.follow(follower))
            await test(Prober(observer, "x"), client, observer)
            following.cancel()

    asyncio.run(bounded())


def test_journal_of_the_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "JOURNAL_S", PATIENCE_S)

    async def test(prober: Prober, client: Client, observer: Observer) -> None:
        assert await prober.find_journal(client, PATIENCE_S) == (None, True)
        assert observer.live == {}

    with fastbg_serve("--dir", str(tmp_path), cwd=tmp_path) as url:
        run(url, tmp_path, test)


def test_journal_of_another_folder_is_not_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "JOURNAL_S", SHORT_S)
    (tmp_path / "other").mkdir()

    async def test(prober: Prober, client: Client, observer: Observer) -> None:
        assert await prober.find_journal(client, PATIENCE_S) == (None, False)

    with fastbg_serve("--dir", str(tmp_path), cwd=tmp_path) as url:
        run(url, tmp_path / "other", test)


def test_server_that_says_nothing_does_not_answer(tmp_path: Path) -> None:
    async def test(prober: Prober, client: Client, observer: Observer) -> None:
        assert await prober.reach(client, SHORT_S) == f"no response within {SHORT_S:g} s"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        run(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path, test)


def test_refused_connection_is_the_reason(tmp_path: Path) -> None:
    async def test(prober: Prober, client: Client, observer: Observer) -> None:
        assert await prober.reach(client, PATIENCE_S) == "ConnectError: Connection refused"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    run(url, tmp_path, test)


def test_silent_journal_is_checked_once_per_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "JOURNAL_S", SHORT_S)
    monkeypatch.setattr(module, "UNREAD_S", PATIENCE_S)

    class Server:
        gone = None

        def __init__(self, client: Client) -> None:
            self.client = client

    async def test(prober: Prober, client: Client, observer: Observer) -> None:
        await prober.check_journal(Server(client))  # type: ignore[arg-type]  # the used attributes only
        assert observer.gap == "the server no longer writes its journal: check the free disk space"
        assert list(observer.remarks) == [observer.gap]
        observer.gap = ""
        await prober.check_journal(Server(client))  # type: ignore[arg-type]
        assert observer.gap == ""

    with fastbg_serve("--dir", str(tmp_path), "--no-record", cwd=tmp_path) as url:
        run(url, tmp_path, test)
