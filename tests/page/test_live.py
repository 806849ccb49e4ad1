"""The live page: `fastbg tail --web`, its messages, and who may ask for them."""

import json
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from fastbg.clock import monotonic_ns, time_ns
from fastbg.events import boot_id
from fastbg.recorder.processes import pid_namespace, start_ticks
from tests.support.browser import Tab, started, tab
from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg
from tests.support.recordings import MS, TASK
from tests.support.servers import fetch


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


class Journal:
    """A journal that a server of this boot writes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.jsonl"
        self.path.touch()

    def add(self, event: str, request: str | None = "r1", **more: Any) -> None:
        about = {"t_ns": monotonic_ns(), "wall_ns": time_ns(), "boot": boot_id(), "pid": 1, "event": event}
        with self.path.open("ab") as file:
            file.write(json.dumps({**about, "request": request, **more}).encode() + b"\n")

    def receive(self, request: str = "r1", path: str = "/mail") -> None:
        self.add("request_received", request, method="POST", path=path)
        self.add("task_queued", request, **TASK)

    def answer(self, request: str = "r1") -> None:
        self.add("response_sent", request, status=200, bytes=2, sending_ns=monotonic_ns() - MS, buffered=0)
        self.add("task_started", request, **TASK, where="thread")

    def end(self, request: str = "r1", how: str = "task_finished", **more: Any) -> None:
        self.add(how, request, **TASK, **more)
        self.add("request_finished", request)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


@contextmanager
def tailing(folder: Path, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run ``fastbg tail --web``. Yield the address and the process."""
    command = [*FASTBG, "tail", "--web", "--dir", str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        try:
            assert process.stdout is not None
            found = re.search(rb"http://\S+/", process.stdout.readline())
            assert found is not None
            yield found[0].decode(), process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.fixture
def live(journal: Journal) -> Iterator[str]:
    with tailing(journal.path.parent) as (address, _):
        yield address


def test_request_appears_and_grows_while_it_runs(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live) as opened:
        journal.receive()
        opened.until("() => document.querySelector('.request .verdict')?.textContent === 'running'")
        opened.until("() => document.querySelector('[data-panel=running] li')?.textContent.includes('no response yet')")
        width = "Number(document.querySelector('.request .waiting').getAttribute('x2'))"
        assert opened.page.locator(".request .mark").count() == 0
        assert opened.page.evaluate(width) > 0
        journal.answer()
        opened.page.wait_for_selector(".request .mark.response")
        opened.until("() => document.querySelector('[data-panel=running]').textContent.includes('shop.mail runs in a')")
        journal.end()
        opened.until("() => document.querySelector('.request .verdict').textContent === 'response-first'")
        opened.until("() => document.querySelector('[data-panel=running] .number').textContent === '0'")
        assert opened.texts(".chip") == ["1 response-first"]
        assert opened.requests == [live, f"{live}events"]
        assert opened.complaints == []


def test_client_that_is_gone_waits_no_longer(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live) as opened:
        journal.receive()
        opened.until("() => document.querySelector('.request .waiting')")
        journal.add("response_lost", status=200)
        journal.add("task_started", **TASK, where="thread")
        opened.until("() => document.querySelector('.request .working')")
        assert opened.page.locator(".request .waiting").count() == 0
        assert opened.texts(".request .verdict") == ["running"]


def test_failures_and_drops_have_their_reasons(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live) as opened:
        journal.receive()
        journal.answer()
        journal.end(how="task_failed", error="ValueError: <b>no</b>")
        journal.receive("r2", "/other")
        journal.end("r2", "task_dropped", reason="exception", detail="HTTPException 404")
        opened.until("() => document.querySelectorAll('[data-panel=problems] li').length === 2")
        listed = " ".join(opened.texts("[data-panel=problems] li"))
        assert "shop.mail failed: ValueError: <b>no</b>" in listed
        assert "shop.mail dropped: HTTPException 404" in listed
        opened.page.click(".chip.dropped")
        opened.page.click("[data-panel=problems] button:has-text('/mail')")  # which the filter hides
        opened.page.wait_for_selector(".fold:has-text('ValueError')")
        opened.page.fill(".search", "other")
        opened.until("() => document.querySelectorAll('.request').length === 1")
        assert opened.texts(".count") == ["1 request of 2"]


def test_paused_page_stays_as_it_is(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live) as opened:
        journal.receive()
        opened.page.wait_for_selector(".request")
        opened.page.click(".pause")
        journal.answer()
        journal.end()
        journal.receive("r2")
        journal.add("shutdown", None, unfinished=2, tasks=["shop.mail"], waits=True)
        opened.until("() => document.querySelector('[data-panel=notices]').textContent.includes('shuts down')")
        opened.page.click(".request")  # what is drawn again shows the same time
        opened.page.wait_for_selector(".fold")
        opened.page.click(".chip.running")
        opened.page.wait_for_selector(".chip.running[aria-pressed=true]")
        assert opened.texts(".request .verdict") == ["running"]
        assert (opened.texts(".chip"), opened.texts(".count")) == (["1 running"], ["1 request"])
        opened.page.click(".pause")
        opened.until("() => document.querySelector('.count').textContent === '1 request of 2'")
        assert opened.texts(".chip") == ["1 running", "1 response-first"]


PLACE = "document.querySelector('[data-key=\"2\"] .mark.response').getAttribute('transform')"
AGE = "document.querySelector('[data-panel=running] .more').textContent"


def until_redrawn(opened: Tab, drawn: str = PLACE) -> None:
    """Wait until the value of the expression ``drawn`` changes: the scale and the ages grow while a request runs."""
    opened.until(f"(before) => {drawn} !== before", opened.page.evaluate(drawn))


@contextmanager
def one_runs_and_one_has_ended(browser: Browser, journal: Journal, live: str) -> Iterator[Tab]:
    with tab(browser, live) as opened:
        journal.receive("r1", "/runs")
        journal.receive("r2", "/done")
        journal.answer("r2")
        journal.end("r2")
        opened.page.wait_for_selector("[data-key='2'] .verdict:has-text('response-first')")
        yield opened


@pytest.mark.parametrize(
    ("pressed", "drawn", "opens"),
    [
        ("[data-key='2'] .name", PLACE, "/done"),
        ("[data-key='2'] .verdict", PLACE, "/done"),
        ("[data-key='2'] .bar", PLACE, "/done"),
        ("[data-panel=running] button", AGE, "/runs"),
    ],
)
def test_press_during_a_redraw_is_a_click(
    browser: Browser, journal: Journal, live: str, pressed: str, drawn: str, opens: str
) -> None:
    with one_runs_and_one_has_ended(browser, journal, live) as opened:
        opened.page.hover(pressed)
        opened.page.mouse.down()
        until_redrawn(opened, drawn)
        opened.page.mouse.up()
        opened.page.wait_for_selector(f".item:has-text('{opens}') .fold")


def test_selected_text_stays_selected_during_a_redraw(browser: Browser, journal: Journal, live: str) -> None:
    selected = "() => getSelection().toString()"
    with one_runs_and_one_has_ended(browser, journal, live) as opened:
        opened.page.click("[data-key='2'] .name")
        opened.page.wait_for_selector(".fold")
        opened.page.evaluate("() => getSelection().selectAllChildren(document.querySelector('.events'))")
        before = opened.page.evaluate(selected)
        until_redrawn(opened)
        assert opened.page.evaluate(selected) == before
        assert "the app got the request" in before


def test_panel_has_each_request_once_while_they_change(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live) as opened:
        journal.receive("r1", "/one")
        journal.receive("r2", "/two")
        opened.until("() => document.querySelectorAll('[data-panel=running] li').length === 2")
        opened.page.focus("[data-panel=running] button:has-text('/two')")
        journal.answer("r1")
        journal.end("r1")
        journal.receive("r3", "/three")
        opened.until("() => document.querySelector('[data-panel=running] ul').textContent.includes('/three')")
        texts = ["POST /two: no response yet", "POST /three: no response yet"]
        opened.until("() => document.querySelectorAll('[data-panel=running] li').length === 2")
        assert opened.texts("[data-panel=running] button") == texts
        assert opened.page.evaluate("() => document.activeElement.textContent") == texts[0]
        journal.add("shutdown", None, unfinished=2, tasks=["shop.mail"], waits=True)
        journal.add("shutdown", None, unfinished=1, tasks=["shop.mail"], waits=True)
        opened.until("() => document.querySelectorAll('[data-panel=notices] li').length === 2")
        assert [text.rpartition(" ")[2].strip() for text in opened.texts("[data-panel=notices] li")] == ["1", "2"]


@pytest.mark.parametrize("width", [1200, 400])
def test_rows_stay_where_they_are_while_panels_fill(browser: Browser, journal: Journal, live: str, width: int) -> None:
    place = "() => document.querySelector('#requests').getBoundingClientRect().top"
    with tab(browser, live, viewport={"width": width, "height": 800}) as opened:
        empty = opened.page.evaluate(place)
        for number in range(10):
            journal.receive(f"r{number}")
            journal.add("shutdown", None, unfinished=1, tasks=["shop.mail"], waits=True)
        opened.until("() => document.querySelectorAll('[data-panel=running] li').length === 10")
        assert opened.page.evaluate(place) == empty


def test_panels_have_their_number_beside_their_title(browser: Browser, live: str) -> None:
    heights = "() => [...document.querySelectorAll('.panels h2')].map((title) => title.getBoundingClientRect().height)"
    with tab(browser, live, viewport={"width": 1600, "height": 900}) as opened:
        assert opened.texts(".panels h2")[0] == "Running now: 0"
        assert max(opened.page.evaluate(heights)) < 40


def test_page_says_that_no_message_comes(browser: Browser, journal: Journal) -> None:
    """A process that was stopped, or a network that lost the connection, closes nothing."""
    status = "document.querySelector('[data-status]').textContent"
    with tailing(journal.path.parent) as (address, process), tab(browser, address) as opened:
        opened.page.clock.install()
        opened.page.reload()
        opened.until(f"() => {status} === 'connected'")
        process.send_signal(signal.SIGSTOP)
        try:
            opened.page.clock.fast_forward(60_000)
            opened.until(f"() => {status}.startsWith('no news from fastbg tail for 1 min')")
        finally:
            process.send_signal(signal.SIGCONT)
        journal.receive()
        opened.until(f"() => {status}.startsWith('connected')")


def test_page_says_that_its_process_has_ended(browser: Browser, journal: Journal) -> None:
    with tailing(journal.path.parent) as (address, process), tab(browser, address) as opened:
        opened.until("() => document.querySelector('[data-status]').textContent === 'connected'")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130  # although the page is connected
        opened.until("() => document.querySelector('[data-status]').textContent.startsWith('not connected')")


def test_page_continues_with_the_next_process(browser: Browser, journal: Journal) -> None:
    with ExitStack() as stack:
        with tailing(journal.path.parent) as (address, _):
            opened = stack.enter_context(tab(browser, address))
            journal.receive("r1", "/before")
            opened.page.wait_for_selector(".name:has-text('/before')")
        opened.until("() => document.querySelector('[data-status]').textContent.startsWith('not connected')")
        port = address.rstrip("/").rpartition(":")[2]
        stack.enter_context(tailing(journal.path.parent, "--port", port))
        opened.until("() => document.querySelector('[data-status]').textContent === 'connected'")
        journal.receive("r2", "/after")
        opened.page.wait_for_selector(".name:has-text('/after')")
        assert opened.texts(".request .name") == ["POST /after", "POST /before"]


@pytest.mark.parametrize("start_is_known", [True, False])
def test_request_of_a_server_that_is_killed_later_is_lost(
    browser: Browser, journal: Journal, start_is_known: bool
) -> None:
    """The server started before the page: its start is read, or it is seen to have the journal open."""
    with journal.path.open("ab") as file, subprocess.Popen(["sleep", "600"], stdout=file) as server:
        identity = {"pid_namespace": pid_namespace(), "start_ticks": start_ticks(server.pid)}
        if start_is_known:
            journal.add("recording_started", None, pid=server.pid, **identity)
        with tailing(journal.path.parent) as (address, _), tab(browser, address) as opened:
            journal.add("request_received", pid=server.pid, method="POST", path="/mail")
            journal.add("task_queued", pid=server.pid, **TASK)
            journal.add("task_started", pid=server.pid, **TASK, where="thread")
            opened.page.wait_for_selector("[data-panel=running] li")
            server.kill()
            server.wait()
            opened.page.wait_for_selector(".verdict.lost")
            opened.page.wait_for_selector("[data-panel=problems] li:has-text('the process of the server is gone')")
            assert opened.texts("[data-panel=running] .number") == ["0"]
            assert opened.texts("[data-panel=notices] li") == []  # the start was long ago


def test_request_of_a_server_that_was_killed_before_is_lost(browser: Browser, journal: Journal) -> None:
    with subprocess.Popen(["sleep", "600"]) as server:
        identity = {"pid_namespace": pid_namespace(), "start_ticks": start_ticks(server.pid)}
        journal.add("recording_started", None, pid=server.pid, **identity)
        server.kill()
    journal.add("request_received", pid=server.pid, method="POST", path="/mail")
    journal.add("task_queued", pid=server.pid, **TASK)
    journal.add("task_started", pid=server.pid, **TASK, where="thread")
    with tailing(journal.path.parent) as (address, _), tab(browser, address) as opened:
        opened.page.wait_for_selector(".verdict.lost")


def test_fold_of_a_request_is_not_that_of_another(browser: Browser, journal: Journal) -> None:
    """The keys of the rows count the requests that a process has read: the next process counts others."""
    with ExitStack() as stack:
        with tailing(journal.path.parent) as (address, _):
            opened = stack.enter_context(tab(browser, address))
            journal.receive("r1", "/one")
            opened.page.click(".request:has-text('/one')")
            opened.page.wait_for_selector(".fold")
        journal.receive("r2", "/two")
        port = address.rstrip("/").rpartition(":")[2]
        stack.enter_context(tailing(journal.path.parent, "--port", port, "-n", "1"))
        opened.page.wait_for_selector(".name:has-text('/two')")
        assert opened.texts(".request .name") == ["POST /two"]
        assert opened.page.locator(".fold").count() == 0


def test_rotated_or_removed_journal_goes_on(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live) as opened:
        journal.receive("r1", "/first")
        opened.page.wait_for_selector(".name:has-text('/first')")
        journal.path.rename(f"{journal.path}.1")
        journal.receive("r2", "/rotated")
        opened.page.wait_for_selector(".name:has-text('/rotated')")
        journal.path.unlink()
        journal.receive("r3", "/removed")
        opened.page.wait_for_selector(".name:has-text('/removed')")
        assert opened.texts(".request .name") == ["POST /removed", "POST /rotated", "POST /first"]
        assert opened.complaints == []


def test_missing_browser_is_said_and_the_page_is_served(journal: Journal, tmp_path: Path) -> None:
    command = [*FASTBG, "tail", "--web", "--open", "--dir", str(journal.path.parent)]
    nothing = environment() | {"BROWSER": str(tmp_path / "no-browser"), "PATH": str(tmp_path), "DISPLAY": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=nothing) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            address = process.stdout.readline().split()[6].decode()
            assert process.stderr.readline().decode() == f"fastbg: no browser was found: open {address} yourself\n"
            assert fetch("GET", address).status_code == 200
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def message(now: float, **more: Any) -> str:
    """Return a server-sent event without news, sent at ``now`` by the clock of the server."""
    return f"data: {json.dumps({'now': now, 'total': 0, 'texts': [], 'rows': [], **more})}\n\n"


RECORD_STATUS = """
    window.said = [];
    new MutationObserver(() => said.push(document.querySelector("[data-status]")?.textContent ?? ""))
      .observe(document, {subtree: true, childList: true});
"""


@pytest.mark.parametrize(
    ("stream", "least_s"),
    [
        (message(1e12, first=True), 0),
        (message(1e12, first=True, behind=4000), 4),
        (message(1e12, first=True) + message(1e12 - 5000, behind=4000), 9),
        (message(1e12, first=True, behind=4000) + message(2e12), 0),
    ],
    ids=["in time", "late at the server", "late on its way too", "in time again"],
)
def test_page_says_how_far_it_is_behind(browser: Browser, live: str, stream: str, least_s: int) -> None:
    """The clocks of server and browser differ by decades here: late is what took longer than the fastest message."""
    stream = "retry: 3600000\n" + stream  # the page does not ask again
    with tab(browser, live) as opened:
        kind = "text/event-stream"
        opened.page.add_init_script(RECORD_STATUS)
        opened.page.route("**/events", lambda route: route.fulfill(body=stream, content_type=kind))
        opened.page.reload()
        opened.until("() => said.some((text) => text.startsWith('not connected'))")
        said: list[str] = opened.page.evaluate("() => said")
        last = [text for text in said if text.startswith("connected")][-1]
        behind_s = float(last.removeprefix("connected, ").removesuffix(" s behind")) if last != "connected" else 0
        assert behind_s >= least_s
        assert (behind_s > 0) == (least_s > 0)


def test_page_that_is_behind_shows_no_age_that_it_does_not_know(browser: Browser, live: str) -> None:
    """A request that ran 1 s ago, as far as the page knows, has not run since then."""
    running = ["1", 0, 1, 0, 2, 1, None, None, 0, [], [], [], [], [3, 0, 1e12 - 61_000, 1]]
    texts = ["GET /mail", "", "running", "no response yet"]
    stream = message(1e12, first=True, total=1, texts=texts, rows=[running], behind=60_000)
    with tab(browser, live) as opened:
        kind = "text/event-stream"
        opened.page.route("**/events", lambda route: route.fulfill(body=stream, content_type=kind))
        opened.page.reload()
        opened.until("() => document.querySelector('[data-panel=running] .more')")
        shown = opened.page.locator("[data-panel=running] .more").inner_text()
        assert float(shown.removeprefix("for ").removesuffix(" s")) < 60


def test_age_has_the_units_that_people_use(browser: Browser, live: str) -> None:
    with tab(browser, live) as opened:
        ages = opened.page.evaluate("() => [1500, 90_000, 3_599_999, 12_059_000, 90_000_000].map(age)")
        assert ages == ["1.5 s", "1 min 30 s", "59 min 59 s", "3 h 20 min", "25 h 0 min"]


HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e\u2028\x00\ud800${1}"


def test_texts_of_an_app_stay_texts(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live) as opened:
        journal.receive("r1", f"/{HOSTILE}")
        journal.add("task_queued", "r1", task=HOSTILE, n=1, detail=HOSTILE)
        journal.answer("r1")
        journal.add("task_failed", "r1", task=HOSTILE, n=1, error=HOSTILE, traceback=HOSTILE)
        journal.end("r1", error=HOSTILE)
        journal.add("loop_blocked", None, place=HOSTILE, path=HOSTILE, ms=90.0)
        opened.page.wait_for_selector("[data-panel=problems] button")
        opened.page.wait_for_selector("[data-panel=notices] li")
        opened.page.click(".request")
        opened.page.wait_for_selector(".fold")
        shown = opened.page.locator("body").inner_text()
        assert r"</script><img src=x onerror=alert(1)>\x1b[31m\u202e\u2028\x00\ud800${1}" in shown
        assert not {"\x1b", "\u202e", "\x00"} & set(shown)
        assert opened.page.locator("img").count() == 0
        assert opened.complaints == []


def test_long_path_leaves_room_for_what_its_request_does(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live, viewport={"width": 400, "height": 800}) as opened:
        journal.receive("r1", f"/{'x' * 3000}")
        opened.page.wait_for_selector("[data-panel=running] button")
        (text,) = opened.texts("[data-panel=running] button")
        assert text.endswith("…: no response yet")
        assert len(text) < 110
        assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= 400


def test_skip_link_leads_to_the_requests(browser: Browser, live: str) -> None:
    with tab(browser, live) as opened:
        opened.page.keyboard.press("Tab")
        if opened.page.evaluate("() => document.activeElement.matches('[data-theme-switch]')"):
            opened.page.keyboard.press("Tab")
        assert opened.page.evaluate("() => document.activeElement.textContent") == "To the requests"
        opened.page.keyboard.press("Enter")
        opened.page.keyboard.press("Tab")
        assert opened.page.evaluate("() => !!document.activeElement.closest('#requests')")


def test_page_that_does_not_read_gets_later_states_instead(journal: Journal, live: str) -> None:
    host, port = live.removeprefix("http://").rstrip("/").split(":")
    path, rounds, requests, sent = "long" * 1000, 40, 50, 0
    with socket.socket() as slow, urllib.request.urlopen(f"{live}events", timeout=PATIENCE_S) as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.settimeout(PATIENCE_S)
        slow.connect((host, int(port)))
        slow.sendall(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        for each in range(requests):
            journal.receive(f"r{each}", f"/{each}/{path}")
        for number in range(rounds):
            for each in range(requests):
                journal.add("task_queued", f"r{each}", task=f"shop.round{number}", n=1 + number)
            journal.add("shutdown", None, unfinished=number, tasks=[], waits=True)
            news = b""
            while f'unfinished tasks: {number}"'.encode() not in news:
                news = quick.readline()
                sent += len(news)
        got = bytearray()
        while f'unfinished tasks: {rounds - 1}"'.encode() not in got:
            got += slow.recv(2**20)
    assert sent > 4 * 2**20
    assert len(got) < 2 * 2**20


def first_message(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}events", timeout=PATIENCE_S) as response:
        found: dict[str, Any] = json.loads(response.readline().removeprefix(b"data: "))
        return found


def test_requests_before_the_start_are_shown_too(journal: Journal) -> None:
    journal.receive()
    journal.receive("r2", "/new")
    with tailing(journal.path.parent, "-n", "1") as (address, _):
        message = first_message(address)
        assert message["first"] is True
        assert [message["texts"][row[1]] for row in message["rows"]] == ["POST /new"]


def test_notice_of_another_boot_has_the_time_of_its_clock(journal: Journal, live: str) -> None:
    with urllib.request.urlopen(f"{live}events", timeout=PATIENCE_S) as response:
        boot = {"boot": "another", "t_ns": 5, "wall_ns": 1_700_000_000_123_000_000}
        journal.add("shutdown", None, unfinished=2, tasks=["shop.mail"], waits=True, **boot)
        line = b""
        while b"shuts down" not in line:
            line = response.readline()
        ((ms, text),) = json.loads(line.removeprefix(b"data: "))["notices"]
        assert (ms, text) == (1_700_000_000_123, "server process 1 shuts down; unfinished tasks: 2")


def test_write_in_a_followed_file_is_a_mark(browser: Browser, journal: Journal, live: str) -> None:
    with tab(browser, live) as opened:
        journal.receive()
        journal.answer()
        opened.page.wait_for_selector(".request .mark.response")
        (journal.path.parent / "log.txt").write_text("message\n", encoding="utf-8")
        opened.page.wait_for_selector(".request .mark.write")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]:80", "10.0.0.7"])
def test_own_names_and_addresses_are_answered(live: str, host: str) -> None:
    assert fetch("GET", live, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[", "a@b"]
)
def test_names_of_other_sites_are_refused(live: str, host: str) -> None:
    for path in ("", "events", "docs"):
        response = fetch("GET", live + path, headers={"Host": host})
        assert response.status_code == 421
        assert "fastbg tail --web" in response.text


def test_host_that_the_user_chose_is_answered(journal: Journal) -> None:
    name = socket.gethostname()
    with tailing(journal.path.parent, "--host", "localhost") as (address, _):
        assert fetch("GET", address, headers={"Host": "localhost"}).status_code == 200
        assert fetch("GET", address, headers={"Host": f"{name}.example"}).status_code == 421


def test_every_response_has_the_headers_that_protect_it(live: str) -> None:
    for path, status in (("", 200), ("docs", 404), ("openapi.json", 404)):
        response = fetch("GET", live + path, headers={"Origin": "https://evil.example"})
        assert response.status_code == status
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert not any(name.startswith("access-control") for name in response.headers)
    assert fetch("POST", live).status_code == 405


def test_port_in_use_is_an_error_in_three_parts(journal: Journal, live: str) -> None:
    port = live.rstrip("/").rpartition(":")[2]
    result = fastbg("tail", "--web", "--port", port, "--dir", str(journal.path.parent), cwd=journal.path.parent)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"fastbg: the port is in use\n  where: 127.0.0.1:%s\n  fix: " % port.encode())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--web", "--json"), b"--web and --json cannot be combined"),
        (("--web", "--files-only"), b"--web and --files-only cannot be combined"),
        (("--web", "--no-follow"), b"--web and --no-follow cannot be combined"),
        (("--port", "80"), b"--port needs --web"),
        (("--host", "::1"), b"--host needs --web"),
        (("--open",), b"--open needs --web"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: tuple[str, ...], error: bytes, tmp_path: Path) -> None:
    result = fastbg("tail", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert error in result.stderr
