"""The follower with real files, with the kernel's notifications and with polling."""
# ruff: noqa: ASYNC240  (the files are changed from inside the event loop on purpose)

import asyncio
import errno
import gc
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Coroutine
from itertools import count
from pathlib import Path

import pytest

from fastbg.errors import FollowError
from fastbg.events import Appended, Notice
from fastbg.follow import follower as follower_module
from fastbg.follow import watch as watch_module
from fastbg.follow.files import FollowedFile, open_file
from fastbg.follow.follower import Follower
from fastbg.follow.lines import BLOCK
from fastbg.follow.watch import lookups
from tests.support.processes import PATIENCE_S


@pytest.fixture(params=[False, True], ids=["kernel", "poll"])
def poll(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(watch_module, "RECHECK_S", 3600.0)  # it would hide missing notifications
    return bool(request.param)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def run(scenario: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, PATIENCE_S))


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def read(follower: Follower, wanted: bytes) -> list[str]:
    """Read exactly ``wanted``. Return the kinds of the notices in order, and "+" for data."""
    found = bytearray()
    kinds: list[str] = []
    while len(found) < len(wanted):
        item = await anext(follower)
        if isinstance(item, Appended):
            found += item.data
            kinds += ["+"] if kinds[-1:] != ["+"] else []
        else:
            kinds.append(item.kind)
    assert found == wanted
    return kinds


async def notice(follower: Follower, kind: str) -> Notice:
    item = await anext(follower)
    assert isinstance(item, Notice)
    assert item.kind == kind
    return item


def test_append_is_yielded_once_with_offset_and_time(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.write_bytes(b"old\n")
        async with Follower([log], poll=poll) as follower:
            before = time.monotonic_ns()
            append(log, b"new\n")
            item = await anext(follower)
            assert isinstance(item, Appended)
            assert (item.path, item.offset, item.data) == (log, 4, b"new\n")
            assert item.file == (log.stat().st_dev, log.stat().st_ino)
            assert before <= item.t_ns <= time.monotonic_ns()
            append(log, b"more\n")
            assert await read(follower, b"more\n") == ["+"]

    run(scenario())


def test_text_without_newline_is_yielded_immediately(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.touch()
        async with Follower([log], poll=poll) as follower:
            for heading in ("\n## FastAPI 框架精讲".encode(), "\n## Flask 框架精讲".encode()):
                append(log, heading)
                await read(follower, heading)

    run(scenario())


def test_existing_content_comes_first_with_start_begin(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.write_bytes(b"old")
        async with Follower([log], start="begin", poll=poll) as follower:
            append(log, b"new")
            assert await read(follower, b"oldnew") == ["+"]

    run(scenario())


def test_last_lines_and_new_bytes_meet_without_a_gap(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.write_bytes(b"1\n2\n3\n")
        async with Follower([log], poll=poll) as follower:
            append(log, b"4\n")
            log.rename(log.with_suffix(".1"))
            assert list(follower.last_lines(log, 2)) == [(2, b"2\n3\n")]
            await read(follower, b"4\n")

    run(scenario())


def test_missing_file_has_no_last_lines(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        async with Follower([log], poll=poll) as follower:
            assert list(follower.last_lines(log, 2)) == []

    run(scenario())


def test_missing_file_is_waited_for(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        async with Follower([log], poll=poll) as follower:
            await notice(follower, "missing")
            append(log, b"first\n")
            assert await read(follower, b"first\n") == ["appeared", "+"]

    run(scenario())


def test_missing_folder_is_waited_for(tmp_path: Path, poll: bool) -> None:
    async def scenario() -> None:
        path = tmp_path / "a" / "b" / "log.txt"
        async with Follower([path], poll=poll) as follower:
            await notice(follower, "missing")
            path.parent.mkdir(parents=True)
            append(path, b"first\n")
            assert await read(follower, b"first\n") == ["appeared", "+"]

    run(scenario())


def test_relative_path_is_followed(log: Path, poll: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.chdir(log.parent)
        async with Follower([Path("sub/../log.txt"), Path("log.txt")], poll=poll) as follower:
            Path("sub").mkdir()
            append(log, b"a")
            found: set[Path] = set()
            while len(found) < 2:
                item = await anext(follower)
                found |= {item.path} if isinstance(item, Appended) else set()

    run(scenario())


def test_folder_removed_and_made_again_is_followed(tmp_path: Path, poll: bool) -> None:
    async def scenario() -> None:
        path = tmp_path / "data" / "log.txt"
        path.parent.mkdir()
        append(path, b"one")
        async with Follower([path], poll=poll) as follower:
            path.unlink()
            path.parent.rmdir()
            await notice(follower, "missing")
            path.parent.mkdir()
            append(path, b"two")
            assert await read(follower, b"two") == ["replaced", "+"]

    run(scenario())


def test_rotation_finishes_the_old_file_before_the_new_one(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        append(log, b"0")
        async with Follower([log], poll=poll) as follower:
            append(log, b"old")
            log.rename(log.with_suffix(".1"))
            append(log, b"new")
            kinds = await read(follower, b"oldnew")
            assert [kind for kind in kinds if kind != "missing"] == ["+", "replaced", "+"]

    run(scenario())


def test_renamed_file_is_followed_until_it_is_replaced(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        append(log, b"0")
        async with Follower([log], poll=poll) as follower:
            log.rename(log.with_suffix(".1"))
            await notice(follower, "missing")
            append(log.with_suffix(".1"), b"late")
            assert await read(follower, b"late") == ["+"]
            append(log, b"new")
            assert await read(follower, b"new") == ["replaced", "+"]

    run(scenario())


def test_file_moved_away_and_back_is_not_read_again(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        append(log, b"0")
        async with Follower([log], poll=poll) as follower:
            log.rename(log.with_suffix(".1"))
            await notice(follower, "missing")
            log.with_suffix(".1").rename(log)
            append(log, b"1")
            assert await read(follower, b"1") == ["appeared", "+"]

    run(scenario())


def test_copied_and_truncated_file_is_read_from_the_start(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        append(log, b"a long first line\n")
        async with Follower([log], poll=poll) as follower:
            os.truncate(log, 0)
            await notice(follower, "truncated")
            append(log, b"new\n")
            assert await read(follower, b"new\n") == ["+"]

    run(scenario())


def test_truncated_and_rewritten_file_starts_again(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        append(log, b"one\ntwo\nthree\n")
        async with Follower([log], poll=poll) as follower:
            os.truncate(log, 4)
            append(log, b"2\n")
            kinds = await read(follower, b"one\n2\n")
            assert kinds[0] == "truncated"

    run(scenario())


def test_longer_rewritten_file_is_read_from_the_start(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        append(log, b"one\n")
        async with Follower([log], poll=poll) as follower:
            log.write_bytes(b"quite another text\n")
            assert (await read(follower, b"quite another text\n"))[0] == "truncated"

    run(scenario())


def test_delete_and_recreate(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        append(log, b"0")
        async with Follower([log], poll=poll) as follower:
            log.unlink()
            append(log, b"new")
            kinds = await read(follower, b"new")
            assert [kind for kind in kinds if kind != "missing"] == ["replaced", "+"]

    run(scenario())


def test_editor_that_saves_by_rename(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        append(log, b"0")
        async with Follower([log], poll=poll) as follower:
            for content in (b"saved once", b"saved twice"):
                append(log.with_suffix(".swp"), content)
                log.with_suffix(".swp").rename(log)
                assert await read(follower, content) == ["replaced", "+"]

    run(scenario())


def test_symbolic_link_that_changes_its_target(tmp_path: Path, poll: bool) -> None:
    async def scenario() -> None:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            append(tmp_path / name / "log.txt", name.encode())
        folder, link, swap = tmp_path / "current", tmp_path / "log.txt", tmp_path / "swap"
        folder.symlink_to("one")
        link.symlink_to("current/log.txt")  # a link through a link
        async with Follower([link], poll=poll) as follower:
            append(tmp_path / "one" / "log.txt", b"!")
            await read(follower, b"!")
            swap.symlink_to("two")
            swap.rename(folder)
            assert await read(follower, b"two") == ["replaced", "+"]
            append(tmp_path / "two" / "log.txt", b"!")
            assert await read(follower, b"!") == ["+"]

    run(scenario())


def test_symbolic_link_whose_target_comes_later(tmp_path: Path, log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.symlink_to(tmp_path / "elsewhere")
        async with Follower([log], poll=poll) as follower:
            await notice(follower, "missing")
            append(tmp_path / "elsewhere", b"here")
            assert await read(follower, b"here") == ["appeared", "+"]

    run(scenario())


def test_two_names_of_one_file_are_both_followed(tmp_path: Path, log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.touch()
        other = tmp_path / "other.txt"
        other.hardlink_to(log)
        async with Follower([log, other], poll=poll) as follower:
            append(log, b"a")
            assert {(await anext(follower)).path, (await anext(follower)).path} == {log, other}

    run(scenario())


def test_busy_file_does_not_delay_another(tmp_path: Path, log: Path, poll: bool) -> None:
    async def scenario() -> None:
        busy = tmp_path / "busy.txt"
        busy.write_bytes(b"x" * (20 * BLOCK))
        log.write_bytes(b"quiet")
        async with Follower([busy, log], start="begin", poll=poll) as follower:
            first = [await anext(follower) for _ in range(2)]
            assert [item.path for item in first] == [busy, log]
            await read(follower, b"x" * (19 * BLOCK))

    run(scenario())


@pytest.mark.parametrize(("step_ns", "least"), [(follower_module.TURN_NS + 1, 100), (0, 0)], ids=["slow", "fast"])
def test_busy_file_does_not_block_the_event_loop(
    log: Path, poll: bool, monkeypatch: pytest.MonkeyPatch, step_ns: int, least: int
) -> None:
    """Use a clock that advances by ``step_ns`` per call: other tasks run after `TURN_NS`."""
    clock = count(follower_module.TURN_NS, step_ns)
    monkeypatch.setattr(follower_module, "monotonic_ns", lambda: next(clock))

    async def scenario() -> None:
        log.touch()
        os.truncate(log, 100 * BLOCK)
        async with Follower([log], start="begin", poll=poll) as follower:
            turns = 0

            async def neighbour() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.create_task(neighbour())
            await read(follower, bytes(100 * BLOCK))
            task.cancel()
            assert turns == least

    run(scenario())


def test_nothing_is_read_before_the_consumer_takes_it(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.touch()
        async with Follower([log], poll=poll) as follower:
            tracemalloc.start()
            os.truncate(log, 2**30)
            item = await anext(follower)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert isinstance(item, Appended)
            assert len(item.data) == BLOCK
            assert peak < 2**20

    run(scenario())


def test_unread_bytes_keep_the_time_they_were_seen(log: Path) -> None:
    log.touch()
    file = FollowedFile(log)
    file.begin(0, at_end=True)
    times = []
    for data in (b"a", b"b", b"c"):
        woken_ns = time.monotonic_ns()
        append(log, data)
        appended_ns = time.monotonic_ns()
        file.measure(woken_ns)
        times.append((appended_ns, time.monotonic_ns()))
    for data, (appended_ns, measured_ns) in zip((b"a", b"b", b"c"), times, strict=True):
        item = file.take()
        assert isinstance(item, Appended)
        assert item.data == data
        assert appended_ns <= item.t_ns <= measured_ns  # not the time of the notification: it may be before the write
    file.close()


def test_size_changes_are_merged_for_a_slow_reader(log: Path) -> None:
    log.touch()
    file = FollowedFile(log)
    file.begin(0, at_end=True)
    appended_ns = 0
    for _ in range(5000):
        append(log, b"x")
        appended_ns = time.monotonic_ns()
        file.measure(0)
    items = []
    while isinstance(item := file.take(), Appended):
        items.append(item)
    file.close()
    assert b"".join(item.data for item in items) == b"x" * 5000
    assert len(items) < 2000
    assert items[-1].t_ns >= appended_ns


def test_read_error_is_a_notice(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    log.touch()
    file = FollowedFile(log)
    file.begin(0, at_end=True)
    append(log, b"x")
    file.measure(1)
    monkeypatch.setattr(os, "pread", broken)
    item = file.take()
    assert isinstance(item, Notice)
    assert (item.kind, item.message) == ("refused", "cannot be read: Input/output error")
    file.close()


def make_odd(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to(kind)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "/dev/full", "/dev/zero"])
def test_refused_path_is_followed_when_it_becomes_a_file(log: Path, poll: bool, kind: str) -> None:
    async def scenario() -> None:
        make_odd(log, kind)
        async with Follower([log], poll=poll) as follower:
            await notice(follower, "refused")
            log.rmdir() if kind == "folder" else log.unlink()
            append(log, b"a file now")
            assert (await read(follower, b"a file now"))[-2:] == ["appeared", "+"]

    run(scenario())


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/", "this is a folder, only files can be followed"),
        ("/dev/zero", "this is a device, only files can be followed"),
        ("a\0b", r"this file cannot be opened: (stat: )?embedded null (byte|character in path)"),  # Python's text
        ("x" * 300, "this file cannot be opened: File name too long"),
    ],
)
def test_refusal_names_the_kind_of_file(path: str, what: str) -> None:
    with pytest.raises(FollowError) as caught:
        open_file(Path(path))
    assert re.fullmatch(what, caught.value.what)
    assert caught.value.where == path


UNREADABLE = """
import os, sys
from pathlib import Path
import fastbg.follow.files as files
from fastbg.errors import FollowError
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    files.open_file(Path(sys.argv[1]))
except FollowError as error:
    print(error.what)
"""


def test_unreadable_file_is_refused(log: Path) -> None:
    log.touch(mode=0)
    folder = log.parent
    while folder != folder.parent and folder.stat().st_uid == os.getuid() and "pytest" in str(folder):
        folder.chmod(0o755)
        folder = folder.parent
    result = subprocess.run(
        [sys.executable, "-c", UNREADABLE, log], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert result.stdout == "no permission to read this file\n"


WRITER = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for n in range(100_000):
    os.write(file, b"%d\\n" % n)
"""


def test_100000_appends_are_yielded_once_and_in_order(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.touch()
        async with Follower([log], poll=poll) as follower:
            writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(log))
            last_t_ns = 0
            wanted = b"".join(b"%d\n" % n for n in range(100_000))
            found = bytearray()
            async for item in follower:
                assert isinstance(item, Appended)
                assert item.offset == len(found)
                assert item.t_ns >= last_t_ns
                last_t_ns = item.t_ns
                found += item.data
                if len(found) >= len(wanted):
                    break
            assert found == wanted
            assert await writer.wait() == 0

    run(scenario())


@pytest.mark.parametrize("state", ["ready", "waiting", "woken"])
@pytest.mark.parametrize("turns", range(4))
def test_cancelled_wait_loses_nothing(log: Path, poll: bool, turns: int, state: str) -> None:
    """``ready``: bytes before the wait. ``waiting``: bytes after the cancellation. ``woken``: bytes just before it."""

    async def scenario() -> None:
        log.touch()
        async with Follower([log], poll=poll) as follower:
            for n in range(10):
                data = b"%02d" % n
                if state == "ready":
                    append(log, data)
                    assert not follower.all_read()
                waiting = asyncio.ensure_future(anext(follower))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if state != "ready":
                    append(log, data)
                if state == "woken":
                    assert not follower.all_read()
                waiting.cancel()
                await asyncio.wait([waiting])
                assert waiting.cancelled() or state == "ready"
                if waiting.cancelled():
                    assert await read(follower, data) == ["+"]
                else:
                    item = waiting.result()
                    assert isinstance(item, Appended)
                    assert item.data == data

    run(scenario())


def held(folder: Path) -> list[str]:
    """Return the files in ``folder`` that this process has open, and its inotify watches."""
    for thread in threading.enumerate():
        if thread.name == "fastbg-inotify-close":  # of a closed follower, perhaps in an earlier test
            thread.join()
    kept = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            leads_to = str(descriptor.readlink())
            about = (Path("/proc/self/fdinfo") / descriptor.name).read_text()
        except FileNotFoundError:  # the descriptor of this listing
            continue
        kept += ["file"] * leads_to.startswith(str(folder)) + re.findall("^inotify wd", about, re.M)
    return sorted(kept)


def test_exit_ends_the_iteration_and_closes_everything(log: Path, poll: bool) -> None:
    async def scenario() -> None:
        log.touch()
        before = held(log.parent)
        async with Follower([log, log.with_name("none")], poll=poll) as follower:
            assert held(log.parent) != before
            await notice(follower, "missing")
            waiting = asyncio.ensure_future(anext(follower, None))
            await asyncio.sleep(0)
        assert await waiting is None
        assert held(log.parent) == before
        assert [item async for item in follower] == []

    run(scenario())
    gc.collect()  # an unclosed descriptor would be a ResourceWarning, and so an error


def test_overflow_of_the_kernels_queue_loses_nothing(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RECHECK_S", 3600.0)
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())

    async def scenario() -> None:
        append(log, b"0")
        async with Follower([log], poll=False) as follower:
            there, back = tmp_path / "there", tmp_path / "back"
            back.touch()
            for _ in range(limit // 4 + 10):  # without a pause: the queue is not read
                back.rename(there)  # two different events: the kernel does not merge them
                there.rename(back)
            append(log, b"old")
            log.rename(log.with_suffix(".1"))
            append(log, b"new")
            kinds = await read(follower, b"oldnew")
            assert [kind for kind in kinds if kind != "missing"] == ["+", "replaced", "+"]

    if limit > 50_000:
        pytest.skip(f"this kernel queues {limit} events")
    run(scenario())


def test_follower_polls_after_the_limit_of_watches(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inotify = pytest.importorskip("inotify_simple")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario() -> None:
        log.touch()
        async with Follower([log, log.with_name("other")]) as follower:
            polling = await notice(follower, "polling")
            assert "No space left on device" in polling.message
            append(log, b"seen")
            assert await read(follower, b"seen") == ["missing", "+"]

    monkeypatch.setattr(inotify.INotify, "add_watch", full)
    run(scenario())


def test_follower_polls_without_notifications(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inotify = pytest.importorskip("inotify_simple")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def scenario() -> None:
        log.touch()
        async with Follower([log]) as follower:
            await notice(follower, "polling")
            append(log, b"seen")
            assert await read(follower, b"seen") == ["+"]

    monkeypatch.setattr(inotify, "INotify", full)
    run(scenario())


def test_recheck_finds_changes_without_notifications(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inotify = pytest.importorskip("inotify_simple")

    def forbidden(*_: object) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    async def scenario() -> None:
        log.touch()
        async with Follower([log]) as follower:
            append(log, b"seen")
            assert await read(follower, b"seen") == ["+"]

    monkeypatch.setattr(watch_module, "RECHECK_S", 0.05)
    monkeypatch.setattr(inotify.INotify, "add_watch", forbidden)
    run(scenario())


def test_lookups_name_every_folder_that_a_path_depends_on(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "file").symlink_to("../target")
    (tmp_path / "target").touch()
    own = [lookup for lookup in lookups(tmp_path / "link" / "file") if lookup[0].startswith(str(tmp_path))]
    folder = str(tmp_path)
    assert own == [(folder, "link"), (folder, "real"), (f"{folder}/real", "file"), (folder, "target")]
