"""Faults of the machine during a run: each gives a clear verdict or error and leaves nothing behind."""

import asyncio
import contextlib
import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import fastbg
from fastbg.commands.report import read_history
from fastbg.errors import ServerDied
from fastbg.evidence.results import RequestResult, RunResult
from fastbg.follow import files
from fastbg.report import moments
from fastbg.run.client import Client
from fastbg.run.options import RunOptions
from fastbg.run.probe import Prober
from fastbg.run.runner import Runner
from fastbg.scripting.reader import read_script
from fastbg.server.monitor import ServerMonitor
from fastbg.server.settings import ServerSettings
from tests.support import forks
from tests.support.processes import FASTBG, PATIENCE_S, environment, read_until, wait_for
from tests.support.servers import ROOT, URL, fetch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

SCRIPT = """
app = "tests.apps.faulty:app"
folder = "${dir}/.."
follow = ["log.txt"]
env = { FAULT = "${env.FAULT}", WHEN = "${env.WHEN}" }
"""
SHORT_S = 0.5  # timeout for a missing response
REQUEST = """
[[request]]
name = "%s"
method = "POST"
path = "/work"
query = { text = "${mark}\\n" }
after = "tasks"
expect.tasks = ["write"]
expect.writes = [{ file = "log.txt", text = "${mark}\\n" }]
"""


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Check that the block leaves no descriptor, thread or child process."""

    def held() -> set[str]:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return {
            *(f"descriptor {fd.name}" for fd in Path("/proc/self/fd").iterdir() if fd.exists() or fd.is_symlink()),
            *(f"thread {thread.name}" for thread in threading.enumerate()),
            *(f"child {pid}" for pid in children),
        }

    forks.start()
    before = held()
    yield
    gc.collect()
    end = time.monotonic() + PATIENCE_S
    while (left := held() - before) and time.monotonic() < end:  # a thread closes inotify
        time.sleep(0.001)
    assert not left


def run(
    folder: Path,
    fault: str,
    when: str,
    *,
    of_second: str = "",
    silent: Callable[[RequestResult], bool] = lambda _: False,
    beside: Awaitable[None] | None = None,
) -> RunResult:
    """Run two requests in sequence against `tests.apps.faulty` with a fault at a given moment.

    ``of_second``: more keys of the second request. ``silent``: whether no more events of a request can arrive; then its
    timeout passes immediately.
    """
    data, variables = folder / "data", {"FAULT": fault, "WHEN": when}
    text = SCRIPT + REQUEST % "first" + REQUEST % "second" + of_second
    source = read_script(text, "faulty.toml", ROOT, variables)
    base = ServerSettings("tests.apps.faulty:app", directory=data, app_dir=ROOT, run_in=folder)
    runner = Runner(source, RunOptions(data, PATIENCE_S, base, variables), None)

    async def tell() -> None:
        while True:
            requests = runner.result().requests
            for request in requests:
                if request.response_ms is not None:
                    (folder / f"answered-{request.trace.request_id}").touch()
            if requests and silent(requests[-1]):
                runner._observer.last_event_ns = -(10**18)
                runner._observer.wake()
            await asyncio.sleep(0.005)

    async def both() -> RunResult:
        tasks = [asyncio.ensure_future(each) for each in (tell(), beside) if each]
        try:
            return await runner.run()
        finally:
            for task in tasks:
                task.cancel()

    try:
        with nothing_left(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastbg.evidence.observer.UNREAD_S", PATIENCE_S)
            patch.setattr("fastbg.run.target.END_S", PATIENCE_S)
            return asyncio.run(asyncio.wait_for(both(), 4 * PATIENCE_S))
    finally:
        gc.unfreeze()  # undo the `gc.freeze()` of the runner


def verdicts(result: RunResult) -> list[str]:
    return [request.judgement.verdict for request in result.requests]


def reasons(result: RunResult) -> list[str]:
    return [request.judgement.reason or "" for request in result.requests]


# the server is killed


def test_server_that_is_killed_before_it_is_ready_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerDied) as caught:
        run(tmp_path, "kill", "startup")
    assert caught.value.what == "the server was killed by SIGKILL"
    assert caught.value.details[-1] == "| INFO:     Waiting for application startup."


@pytest.mark.parametrize(
    ("when", "verdict", "reason"),
    [
        ("probe", "(unproven|lost)", r"(not sent: .*|log.txt never got '.*\\n' \(.+\))"),
        ("request", "lost", r"log.txt never got '.*\\n' \(the server was killed by SIGKILL\)"),
        ("response", "lost", r".*write started, never finished; log.txt .* \(the server was killed by SIGKILL\)"),
        ("write", "lost", r".*write started, never finished \(the server was killed by SIGKILL\)"),
    ],
)
def test_what_a_killed_server_did_not_do_is_lost(tmp_path: Path, when: str, verdict: str, reason: str) -> None:
    result = run(tmp_path, "kill", when)
    assert re.fullmatch(verdict, verdicts(result)[0])
    assert re.fullmatch(reason, reasons(result)[0])
    assert verdicts(result)[1] == "unproven"
    assert reasons(result)[1].startswith("not sent: ")
    assert result.stopped == "the server was killed by SIGKILL"
    assert len(result.requests[0].trace.writes) == (when == "write")
    assert not result.ok


def test_killed_server_is_named_also_if_its_end_shows_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = ServerMonitor.died

    async def late(monitor: ServerMonitor) -> ServerDied:
        error = await died(monitor)
        await asyncio.sleep(0.1)  # both requests are over by then, usually
        return error

    monkeypatch.setattr(ServerMonitor, "died", late)
    assert run(tmp_path, "kill", "probe").stopped == "the server was killed by SIGKILL"


def test_server_killed_at_the_end_changes_no_verdict(tmp_path: Path) -> None:
    result = run(tmp_path, "kill", "drain")
    assert verdicts(result) == ["response-first"] * 2
    assert result.ok


# the server is stopped


def stopped(folder: Path) -> int | None:
    """Return the process id of the server if it is stopped."""
    pid = (folder / "stopped").read_text() if (folder / "stopped").exists() else ""
    if pid and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
        return int(pid)
    return None


def test_server_that_is_stopped_and_goes_on_changes_no_verdict(tmp_path: Path) -> None:
    async def go_on() -> None:
        while (pid := stopped(tmp_path)) is None:
            await asyncio.sleep(0.01)
        os.kill(pid, signal.SIGCONT)

    result = run(tmp_path, "stop", "response", beside=go_on())
    assert verdicts(result) == ["response-first"] * 2
    assert result.ok


@pytest.mark.long
def test_server_that_stays_stopped_ends_with_the_time_limit(tmp_path: Path) -> None:
    def silent(request: RequestResult) -> bool:
        started = request.trace.find("task_started") is not None
        return stopped(tmp_path) is not None and started and request.response_ms is not None

    result = run(tmp_path, "stop", "response", silent=silent, of_second=f"timeout = {SHORT_S}\n")
    assert verdicts(result) == ["lost", "lost"]
    assert reasons(result)[0].endswith(f"(not within {PATIENCE_S:g} s)")
    assert reasons(result)[1].endswith(f"(no complete response, and no event for {SHORT_S} s)")


# the journal, and the data folder


@pytest.mark.parametrize("fault", ["delete the journal", "remove the folder"])
def test_run_goes_on_without_the_file_of_the_journal(tmp_path: Path, fault: str) -> None:
    result = run(tmp_path, fault, "response")
    assert verdicts(result) == ["response-first"] * 2
    assert {request.judgement.evidence[-1] for request in result.requests} == {"server"}
    assert result.ok


def test_truncated_journal_proves_nothing_by_silence(tmp_path: Path) -> None:
    result = run(tmp_path, "truncate the journal", "write")
    assert verdicts(result) == ["response-first"] * 2
    assert [request.judgement.evidence for request in result.requests] == [("client+file",), ("client+file", "server")]
    assert result.remarks == ("the server's journal was truncated or rewritten during the run",)


def test_journal_that_is_not_written_any_more_makes_no_task_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Prober._probe

    async def patient(prober: Prober, client: Client, seconds: float, *, journal: bool) -> tuple[str | None, bool]:
        return await probe(prober, client, PATIENCE_S, journal=journal)  # for the response, not for the journal

    def silent(request: RequestResult) -> bool:
        return bool(request.writes_ms) and request.response_ms is not None

    monkeypatch.setattr(Prober, "_probe", patient)
    result = run(tmp_path, "fill the disk", "response", silent=silent)
    assert verdicts(result) == ["response-first"] * 2  # with evidence from client and file
    assert {request.judgement.evidence for request in result.requests} == {("client+file",)}
    assert result.remarks == ("the server no longer writes its journal: check the free disk space",)
    assert not result.ok  # the tasks are unknown
    assert "unknown: " in str(result.requests[0].unmet[0])


# the clock


def test_wall_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, real, real_ns = time.monotonic(), time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * (time.monotonic() - begin))
    for module in (time, moments, files):
        monkeypatch.setattr(module, "time_ns", lambda: real_ns() - int(3600e9 * (time.monotonic() - begin)))
    result = run(tmp_path, "step the clock", "request")
    assert verdicts(result) == ["response-first"] * 2
    assert {request.judgement.evidence for request in result.requests} == {("client+file", "server")}
    times = [ms for request in result.requests for ms in (request.response_ms, *request.writes_ms)]
    assert all(ms is not None and 0 < ms < 1000 * PATIENCE_S for ms in times)
    walls = [json.loads(line)["wall_ns"] for line in (tmp_path / "data" / "journal.jsonl").read_bytes().splitlines()]
    assert max(walls) - min(walls) > 3000e9
    recorded = read_history(tmp_path / "data" / "journal.jsonl", last=9).last
    assert [request.judgement.verdict for request in recorded if request.path == "/work"] == ["response-first"] * 2


def test_only_journal_and_display_read_the_wall_clock() -> None:
    readers = {name for name, text in sources().items() if re.search(r"(?<!monotonic_)\b(coarse_)?time_ns\(", text)}
    assert readers == {"recorder/journal_events.py", "report/moments.py", "follow/files.py"}  # a file's time, for tail


def test_all_modules_read_the_clocks_of_one_module() -> None:
    clock = re.compile(
        r"\btime\.(time|monotonic|perf_counter)|\bfrom time import .*(time|monotonic|perf)|\.(now|today|utcnow)\("
    )
    readers = {name for name, text in sources().items() if clock.search(text)}
    assert readers == {"clock.py"}


def sources() -> dict[str, str]:
    """Return the modules of fastbg, without the apps that it brings along."""
    package = Path(fastbg.__file__).parent
    names = {path: str(path.relative_to(package)) for path in package.rglob("*.py")}
    return {
        name: path.read_text("utf-8") for path, name in names.items() if not name.startswith(("scripts/", "example/"))
    }


# the disk is full


@contextlib.contextmanager
def small_disk(
    folder: Path, *command: str | Path, kib: int = 64, options: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with a small disk at ``folder``, which only the command sees."""
    mount = f'mount -t tmpfs -o size={kib}k{options} none "$0" && echo mounted && exec "$@"'
    own = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
    folder.mkdir(exist_ok=True)
    try:
        process = subprocess.Popen(
            [*own, "sh", "-c", mount, folder, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # reads exactly the requested bytes
            env=environment(),
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    with process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"mounted\n":
                pytest.skip(f"nothing can be mounted here: {process.communicate()[1]!r}")
            yield process
        finally:
            process.kill()


def test_data_folder_without_room_is_refused(tmp_path: Path) -> None:
    fill = 'dd if=/dev/zero of="$0/filler" bs=1k count=64 status=none; exec "$@"'
    with small_disk(
        tmp_path / "data", "sh", "-c", fill, tmp_path / "data", *FASTBG, "demo", "--dir", tmp_path / "data"
    ) as demo:
        output, error = demo.communicate()
    assert (demo.returncode, output) == (2, b"")
    assert error.decode().splitlines() == [
        "fastbg: the data folder cannot be written: No space left on device",
        f"  where: {tmp_path / 'data'}",
        "  fix: free some disk space there, or choose another folder with --dir",
    ]


def test_data_folder_that_may_only_be_read_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with small_disk(data, *FASTBG, "serve", "--port", "0", "--dir", data, options=",ro") as server:
        output, error = server.communicate()
    assert (server.returncode, output) == (2, b"")
    assert error.decode().splitlines() == [
        "fastbg: the data folder cannot be written: Read-only file system",
        f"  where: {tmp_path / 'data' / 'journal.jsonl'}",
        "  fix: choose another folder with --dir",
    ]


def test_full_disk_fails_no_request_and_is_recorded(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with small_disk(data, *FASTBG, "serve", "--port", "0", "--dir", data, "--work", "0") as server:
        found = re.search(URL, read_until(server.stdout, URL))
        assert found is not None
        url = found[1].decode()
        inside = Path(f"/proc/{server.pid}/root{data}")

        def notify(who: str) -> int:
            address = f"{url}/send-notification/{who}@example.com"
            return fetch("POST", address, headers={"X-Fastbg-Request-ID": who}).status_code

        assert notify("before") == 200
        wait_for(inside / "journal.jsonl", b'"request_finished","request":"before"')
        with (inside / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(1024))
        statuses = [notify("full")]
        while (inside / "journal.jsonl").stat().st_size % 4096:  # the last page of the journal still has room
            statuses.append(notify("full"))
        statuses.append(notify("full"))
        assert set(statuses) == {200}
        wait_for(inside / "log.txt", b"(message to full@example.com\n){%d}" % len(statuses))  # no more tasks start
        (inside / "filler").unlink()
        assert notify("after") == 200
        wait_for(inside / "journal.jsonl", b'"request_finished","request":"after"')
        history = read_history(inside / "journal.jsonl", last=99)
        server.send_signal(signal.SIGINT)
        log = server.communicate()[1]
    assert server.returncode == 0
    assert history.lost > 0
    assert history.counts["lost"] == 0
    judged = {request.request_id: request.judgement.verdict for request in history.last}
    assert judged["before"] == judged["after"] == "response-first"
    assert log.count(b"fastbg cannot write its journal") == log.count(b"again; events lost") == 1


# too many open files, no notifications


def limited(limit: str, *command: str | Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run fastbg with a limit set by ``ulimit``."""
    shell = ["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *FASTBG, *command]
    return subprocess.run(shell, capture_output=True, env=environment(**more), timeout=4 * PATIENCE_S, check=False)


def test_too_few_descriptors_for_a_run_are_told(tmp_path: Path) -> None:
    result = limited("-n 10", "demo", "--dir", tmp_path / "data")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.decode().splitlines() == [
        "fastbg: no more files can be opened: Too many open files",
        "  where: this process",
        "  fix: raise the limit with `ulimit -n 4096`, or choose a smaller --concurrency",
    ]


def test_run_may_open_more_files_than_the_shell_allows_at_first(tmp_path: Path) -> None:
    result = limited(
        "-S -n 16", "demo", "--quiet", "--work", "0", "--timeout", str(PATIENCE_S), "--dir", tmp_path / "data"
    )
    assert (result.returncode, result.stderr) == (0, b""), result


def test_run_by_polling_says_so_and_finds_the_same(tmp_path: Path) -> None:
    none_left = 'echo 0 > /proc/sys/user/max_inotify_instances && echo limited && exec "$@"'
    own = ("unshare", "--map-root-user", "sh", "-c", none_left, "sh")
    demo = (*FASTBG, "demo", "--json", "--work", "0.1", "--timeout", str(PATIENCE_S), "--dir", str(tmp_path / "data"))
    result = subprocess.run([*own, *demo], capture_output=True, env=environment(), timeout=4 * PATIENCE_S, check=False)
    if not result.stdout.startswith(b"limited"):
        pytest.skip(f"the limit cannot be set here: {result.stderr!r}")
    document = json.loads(result.stdout.removeprefix(b"limited\n"))
    assert (result.returncode, document["ok"]) == (0, True)
    assert document["remarks"] == ["no file notifications from the kernel (Too many open files): polling every 40 ms"]


# output cannot be written


@pytest.mark.parametrize("arguments", [("--version",), ("demo", "--schema")])
def test_output_that_cannot_be_written_is_an_error(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*FASTBG, *arguments], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert result.returncode == 2
    assert result.stderr.decode().splitlines() == [
        "fastbg: the output cannot be written: No space left on device",
        "  where: standard output",
        "  fix: free some disk space, or write the output to another disk",
    ]
