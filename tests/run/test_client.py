"""`fastbg demo` with servers that send invalid, endless or no responses."""

import asyncio
import contextlib
import gc
import gzip
import io
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from fastbg.commands.demo import demo
from fastbg.commands.demo_options import DemoOptions
from fastbg.errors import FastbgError, ServerError
from fastbg.run.body import LIMIT
from tests.support import forks
from tests.support.hostile_server import CHUNKED, OK, RawResponse, peak_memory_of_body, redirect, respond_with
from tests.support.processes import PATIENCE_S

SHORT_S = 0.3  # timeout for endless responses


async def flood(writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED)
    while True:
        writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED)
    while True:
        writer.write(b"1\r\nx\r\n")
        await asyncio.sleep(0.02)


async def drip_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    while True:
        writer.write(b"X-Again: and again\r\n")
        await asyncio.sleep(0.02)


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


ENDLESS: Mapping[str, RawResponse] = {
    "/flood": flood,
    "/drip": drip,
    "/drip-headers": drip_headers,
    "/silence": silence,
}

BROKEN: Mapping[str, tuple[bytes, int | None, str]] = {
    "/garbage": (b"\x1b[31m\xff\x00 garbage\r\n\r\n", None, r"illegal status line: bytearray(b'\x1b[31m"),
    "/another-protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", None, "Server disconnected without sending a response"),
    "/no-header": (OK + b"no colon\r\n\r\n", None, "illegal header line"),
    "/long-header": (OK + b"X: " + bytes(2**20) + b"\r\n\r\n", None, "Receive buffer too long"),
    "/many-headers": (OK + b"X: y\r\n" * 100_000 + b"\r\n", None, "Receive buffer too long"),
    "/long": (OK + b"Content-Length: 100\r\n\r\nshort", 200, "received 5 bytes, expected 100"),
    "/negative": (OK + b"Content-Length: -2\r\n\r\nok", None, "bad Content-Length"),
    "/two-lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", None, "conflicting Content-Length"),
    "/closed": (b"", None, "Server disconnected without sending a response"),
    "/half-a-line": (b"HTTP/1.1 20", None, "Server disconnected without sending a response"),
    "/half-a-chunk": (CHUNKED + b"5\r\nhel", 200, "incomplete chunked read"),
    "/no-chunk": (CHUNKED + b"zz\r\nhello\r\n", 200, "illegal chunk header"),
    "/endless-chunk": (CHUNKED + b"f" * 20 + b"\r\nhello\r\n", 200, "incomplete chunked read"),
    "/no-gzip": (OK + b"Content-Encoding: gzip\r\n\r\nhello", 200, "the body is not valid gzip data"),
    "/half-a-gzip": (
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello" * 100)[:-12],
        200,
        "the body ends in the middle of its gzip data",
    ),
    "/long-status": (b"HTTP/1.1 1000 Odd\r\n\r\n", None, "illegal status line"),
    "/upgrade": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nhello", None, "_SWITCH_UPGRADE"),
}

ODD: Mapping[str, tuple[bytes, int, object]] = {
    "/short-length": (OK + b"Content-Length: 2\r\n\r\nok and more", 200, "ok"),
    "/control-header": (OK + b"X: \x1b[31mred\x07\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
    "/control-body": (OK + b"\r\n\x1b[31m\x07\x00\xff", 200, "\x1b[31m\x07\x00\ufffd"),
    "/odd-status": (b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", 999, ""),
    "/hesitation": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + OK + b"\r\nok", 200, "ok"),
    "/unknown-coding": (OK + b"Content-Encoding: br\r\n\r\nhello", 200, "hello"),
    "/unknown-charset": (OK + b"Content-Type: text/html; charset=none\r\n\r\nok", 200, "ok"),
    "/deep": (OK + b"\r\n" + b"[" * 60_000, 200, "[" * 60_000),
    "/no-number": (OK + b"\r\nNaN", 200, "NaN"),
    "/half-a-character": (OK + b'\r\n"\\ud800"', 200, '"\\ud800"'),
    "/gzip": (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b'{"a": 1}'), 200, {"a": 1}),
}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Check that a test leaves no thread and no descriptor."""
    forks.start()
    gc.collect()  # from other tests
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE_S)
    assert set(threading.enumerate()) <= threads
    assert _descriptors() <= descriptors


def _descriptors() -> set[tuple[str, Path]]:
    """Return the number and the target of each descriptor."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # of this listing
            found.add((link.name, link.readlink()))
    return found


def script(folder: Path, *requests: str, url: str = "http://127.0.0.1:1") -> Path:
    """Write a script with these requests, each given by its path and more lines."""
    file = folder / "script.toml"
    tables = [
        f'[[request]]\nname = "{path}"\npath = "{path}"\n{more}\n'
        for path, _, more in (request.partition("\n") for request in requests)
    ]
    file.write_text(f'url = "{url}"\n' + "".join(tables))
    return file


def told(folder: Path, url: str, *requests: str, timeout: float = PATIENCE_S) -> dict[str, dict[str, Any]]:
    """Run a demo of the requests. Return the requests in its document by name."""
    wish = DemoOptions(folder / "data", 0, (str(script(folder, *requests)),), url=url, timeout=timeout, as_json=True)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = demo(wish)
    document = json.loads(output.getvalue(), parse_constant=pytest.fail)
    assert code == (0 if document["ok"] else 1)
    return {request["name"]: request for request in document["requests"]}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the results for all finite responses, requested in sequence."""
    answers = {path: answer for path, (answer, _, _) in [*BROKEN.items(), *ODD.items()]}
    with respond_with(answers) as url:
        return told(tmp_path_factory.mktemp("outcome"), url, *answers)


@pytest.mark.parametrize("path", BROKEN)
def test_answer_that_is_broken_proves_nothing_and_says_why(outcome: dict[str, dict[str, Any]], path: str) -> None:
    _, status, why = BROKEN[path]
    found = outcome[path]
    assert (found["verdict"], found["status"]) == ("unproven", status)
    assert found["reason"].startswith("no response: ")
    assert why in found["reason"]
    assert ("status: expected 200, got no response" in found["unmet"]) == (status is None)


@pytest.mark.parametrize("path", ODD)
def test_answer_that_is_odd_is_taken_as_it_is(outcome: dict[str, dict[str, Any]], path: str) -> None:
    _, status, body = ODD[path]
    found = outcome[path]
    assert (found["verdict"], found["status"], found["body"]) == ("unproven", status, body)
    assert found["response_ms"] is not None


def test_endless_answer_ends_with_the_timeout(tmp_path: Path) -> None:
    requests = [f"{path}\ntimeout = {SHORT_S}" for path in ENDLESS]
    with respond_with(ENDLESS) as url:
        found = told(tmp_path, url, *requests, "/other")
    assert found.pop("/other")["status"] == 204
    assert {request["reason"].partition(": ")[2] for request in found.values()} == {
        "no complete response, and no event for 0.3 s"
    }
    assert {request["verdict"] for request in found.values()} == {"unproven"}


def test_server_with_endless_answers_is_reached(tmp_path: Path) -> None:
    with respond_with({"/": drip, "/drip": drip}) as url:
        found = told(tmp_path, url, f"/drip\ntimeout = {SHORT_S}")
    assert found["/drip"]["reason"] == "no response: no complete response, and no event for 0.3 s"


def test_response_of_an_own_app_that_has_no_end_loses_its_task(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(
        """
import asyncio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse
from starlette.routing import Route

async def again():
    try:
        while True:
            yield b"x"
            await asyncio.sleep(0.02)
    finally:  # the client has disconnected: without an error the task would still run
        raise OSError

async def endless(request):
    return StreamingResponse(again(), background=BackgroundTask(print, "never"))

app = Starlette(routes=[Route("/{path:path}", endless, methods=["GET", "OPTIONS"])])
"""
    )
    file = script(tmp_path, "/endless")
    file.write_text(file.read_text().replace('url = "http://127.0.0.1:1"', 'app = "endless:app"'))
    wish = DemoOptions(tmp_path / "data", 0, (str(file),), timeout=SHORT_S, as_json=True)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert demo(wish) == 1
    (request,) = json.loads(output.getvalue())["requests"]
    assert (request["verdict"], [task["state"] for task in request["tasks"]]) == ("dropped", ["dropped"])
    assert request["reason"].startswith("builtins.print dropped: the StreamingResponse that it was given to raised ")


def test_silent_server_is_given_up_before_any_request(tmp_path: Path) -> None:
    with respond_with({"/": silence}) as url, pytest.raises(ServerError, match=r"no response within 0\.3 s"):
        told(tmp_path, url, "/any", timeout=SHORT_S)


def test_redirect_is_shown_and_not_followed(tmp_path: Path) -> None:
    asked = []

    async def loop(writer: asyncio.StreamWriter) -> None:
        asked.append("/loop")
        writer.write(redirect("/loop\x1b"))

    with respond_with({"/loop": loop}) as url:
        found = told(tmp_path, url, "/loop\nexpect.verdict = 'unproven'", "/elsewhere")
    assert asked == ["/loop"]
    assert (found["/loop"]["status"], found["/loop"]["location"]) == (302, "/loop\x1b")
    assert found["/loop"]["unmet"] == [
        'status: expected 200, was 302, a redirect to "/loop\\u001b" (redirects are not followed)'
    ]
    assert found["/elsewhere"]["location"] is None


VALUES = {"control": r'"\u0000\n\u001b"', "surrogate": r'"\udc80"', "long": f'"{"x" * 60_000}"'}


def test_saved_value_may_be_anything(tmp_path: Path) -> None:
    answers: dict[str, RawResponse] = {f"/{name}": OK + b"\r\n" + value.encode() for name, value in VALUES.items()}
    file = script(tmp_path, *(f"/{name}\nsave = {{ {name} = 'body' }}" for name in VALUES))
    with file.open("a") as more:
        for name in VALUES:
            for part in ("path = '/%s'", "path = '/x'\nheaders = { X = '%s' }", "path = '/x'\nbody = '%s'"):
                filled = part % f"${{{name}}}"
                more.write(f"[[request]]\nname = {json.dumps(filled)}\nmethod = 'POST'\n{filled}\n")
    with respond_with(answers) as url:
        wish = DemoOptions(tmp_path / "data", 0, (str(file),), url=url, timeout=PATIENCE_S, as_json=True)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            assert demo(wish) == 1
    for request in json.loads(output.getvalue())["requests"][len(VALUES) :]:
        assert request["status"] == 204 or request["reason"].startswith(("not sent: ", "no response: ")), request


def test_wrong_protocol_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for tls, why in ((None, "SSL"), (context, "disconnected")):
        with respond_with({}, tls) as url:
            other = url.replace("http:", "https:") if tls is None else url.replace("https:", "http:")
            with pytest.raises(ServerError, match=why) as raised:
                told(tmp_path, other, "/any")
        assert "check also http or https" in raised.value.remedy


@pytest.mark.parametrize("url", ["http://[::1", "http://\udcff.b", "http://127.0.0.1:1:1"], ids=ascii)
def test_what_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(FastbgError, match="not a valid URL"):
        told(tmp_path, url, "/any")


def test_body_that_is_too_long_to_be_kept_is_told_in_short(tmp_path: Path) -> None:
    with respond_with({"/long": OK + b"\r\n" + b"x" * (LIMIT + 1)}) as url:
        found = told(tmp_path, url, "/long\nexpect.body = 'short'")["/long"]
    assert (found["body"], found["body_bytes"], found["body_cut"]) == ("x" * LIMIT, LIMIT + 1, True)
    (complaint,) = [unmet for unmet in found["unmet"] if unmet.startswith("body")]
    assert complaint.startswith("body: expected 'short', was 'xxx")
    assert complaint.endswith(f"(received {LIMIT + 1} bytes, kept only the first part)")
    assert len(complaint) < 2000


def test_body_that_is_too_long_to_be_kept_costs_no_memory(tmp_path: Path) -> None:
    """For a gigabyte: ``python -m tests.support.hostile_server``."""
    (short_mib, _), (long_mib, written) = (peak_memory_of_body(tmp_path, mib) for mib in (0, 64))
    (request,) = json.loads(written)["requests"]
    assert (request["body_bytes"], request["body_cut"], len(request["body"])) == (64 * 2**20, True, LIMIT)
    assert long_mib - short_mib < 16
