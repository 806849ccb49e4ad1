"""The mail server: it writes a line to a file for each mail, and closes everything at its end."""

import asyncio
import builtins
import json
import signal
import smtplib
import socket
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.errors import FastbgError
from fastbg.services.mail import MAX_BYTES, MAX_FIELD, MailServer, inbox_line, parse_address
from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg, wait_for


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test()

    asyncio.run(bounded())


def mail(subject: str, *, size: int = 10) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "shop@example.com"
    message["To"] = "you@example.com"
    message.set_content("x" * size)
    return message


def send(server: MailServer, message: EmailMessage, **more: Any) -> None:
    with smtplib.SMTP(server.host, server.port, timeout=PATIENCE_S) as connection:
        connection.send_message(message, **more)


def test_a_mail_is_in_the_file_before_the_response(tmp_path: Path) -> None:
    inbox = tmp_path / "new" / "mail.txt"

    async def test() -> None:
        async with MailServer(inbox) as server:
            assert inbox.read_text() == ""
            await asyncio.to_thread(send, server, mail("Willkommen, ü路"))
            assert inbox.read_text() == "mail to you@example.com from shop@example.com: Willkommen, ü路\n"
            await asyncio.to_thread(send, server, mail("second"), to_addrs=["a@b.c", "d@e.f"])
            assert inbox.read_text().splitlines()[1:] == ["mail to a@b.c, d@e.f from shop@example.com: second"]

    run(test)


def test_mails_in_parallel_write_whole_lines(tmp_path: Path) -> None:
    inbox = tmp_path / "mail.txt"

    async def test() -> None:
        async with MailServer(inbox) as server:
            await asyncio.gather(*(asyncio.to_thread(send, server, mail(f"number {n}")) for n in range(20)))

    run(test)
    lines = sorted(inbox.read_text().splitlines())
    assert lines == sorted(f"mail to you@example.com from shop@example.com: number {n}" for n in range(20))


def test_a_mail_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with MailServer(tmp_path / "mail.txt") as server:
            with pytest.raises(smtplib.SMTPSenderRefused) as refused:
                await asyncio.to_thread(send, server, mail("large", size=MAX_BYTES + 1))
            assert refused.value.smtp_code == 552

    run(test)
    assert (tmp_path / "mail.txt").read_bytes() == b""


def test_a_mail_that_cannot_be_written_is_not_accepted(tmp_path: Path) -> None:
    async def test() -> None:
        async with MailServer(tmp_path / "mail.txt") as server:
            (tmp_path / "mail.txt").unlink()
            (tmp_path / "mail.txt").mkdir()
            with pytest.raises(smtplib.SMTPDataError) as refused:
                await asyncio.to_thread(send, server, mail("lost"))
            assert refused.value.smtp_code == 451

    run(test)


@pytest.mark.parametrize("fails", [False, True])
def test_the_port_is_free_and_no_connection_left_at_the_end(tmp_path: Path, fails: bool) -> None:
    servers: list[MailServer] = []
    connections: list[socket.socket] = []

    async def serve() -> None:
        async with MailServer(tmp_path / "mail.txt") as server:
            servers.append(server)
            connections.append(socket.create_connection((server.host, server.port), timeout=PATIENCE_S))
            await asyncio.to_thread(connections[0].recv, 1000)
            if fails:
                raise LookupError

    async def test() -> None:
        if fails:
            with pytest.raises(LookupError):
                await serve()
        else:
            await serve()
        assert len(asyncio.all_tasks()) == 1

    run(test)
    with suppress(ConnectionResetError):
        assert connections[0].recv(1000) == b""
    connections[0].close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((servers[0].host, servers[0].port))


def test_an_inbox_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(FastbgError) as refused:
            async with MailServer(tmp_path):
                pass
        assert refused.value.where == str(tmp_path)

    run(test)


def test_without_the_extra_the_error_has_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("aiosmtpd"):
            raise ModuleNotFoundError(name)
        return real(name, *more)

    async def test() -> None:
        with pytest.raises(FastbgError) as refused:
            async with MailServer(tmp_path / "mail.txt"):
                pass
        assert "pip install '.[mail]'" in refused.value.remedy

    monkeypatch.setattr(builtins, "__import__", without)
    run(test)
    assert not (tmp_path / "mail.txt").exists()


def test_control_characters_of_a_mail_are_escaped() -> None:
    line = inbox_line(["a\x1b[31m@b"], None, b"Subject: =?utf-8?q?one=0Amail_to_x_from_y=3A_z?=\r\n\r\n")
    assert line == "mail to a\\x1b[31m@b from <>: one\\nmail to x from y: z\n"


@given(
    st.lists(st.text(), max_size=3), st.none() | st.text(), st.binary() | st.binary().map(lambda b: b"Subject: " + b)
)
def test_any_mail_is_one_bounded_line_in_utf_8(recipients: list[str], sender: str | None, content: bytes) -> None:
    line = inbox_line(recipients, sender, content)
    assert line.encode().count(b"\n") == 1
    assert line.endswith("\n")


def test_a_long_subject_is_cut() -> None:
    line = inbox_line(["a@b.c"] * 100, "d@e.f", b"Subject: " + b"x" * 10_000)
    assert len(line) < 3 * MAX_FIELD
    assert "…" in line


@pytest.mark.parametrize("text", ["", "host", "host:", ":25", "host:0", "host:70000", "host:x", "host:²"])
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(FastbgError, match="not a valid address"):
        parse_address(text)


def test_an_address_may_be_of_ipv6() -> None:
    assert parse_address("[::1]:25") == ("::1", 25)
    assert parse_address("mail.example.com:587") == ("mail.example.com", 587)


# in a script

APP = """
import os, smtplib, threading
from email.message import EmailMessage
from fastapi import BackgroundTasks, FastAPI

app = FastAPI()
asked_inline = threading.Event()  # the client has the response of the request before that

def send(email: str) -> None:
    asked_inline.wait()
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Hello", "shop@example.com", email
    message.set_content("Hello")
    with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])) as connection:
        connection.send_message(message)

@app.post("/background/{email}")
async def background(email: str, tasks: BackgroundTasks) -> None:
    tasks.add_task(send, email)

@app.post("/inline/{email}")
def inline(email: str) -> None:
    asked_inline.set()
    send(email)
"""
SCRIPT = """
app = "app:app"
mail = "mail.txt"
timeout = 90
env = { SMTP_HOST = "${mail.host}", SMTP_PORT = "${mail.port}" }

[[request]]
name = "background"
method = "POST"
path = "/background/${mark}@example.com"
expect.tasks = ["send"]
expect.writes = [{ file = "mail.txt", text = "mail to ${mark}@example.com from shop@example.com: Hello\\n" }]

[[request]]
name = "inline"
method = "POST"
path = "/inline/${mark}@example.com"
expect.verdict = "work-first"
expect.writes = [{ file = "mail.txt", text = "mail to ${mark}@example.com from shop@example.com: Hello\\n" }]
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "script.toml").write_text(SCRIPT)
    return tmp_path / "script.toml"


def test_the_arrival_of_a_mail_is_evidence(script: Path) -> None:
    result = fastbg("demo", "script.toml", "--json", cwd=script.parent)
    assert (result.returncode, result.stderr) == (0, b"")
    background, inline = json.loads(result.stdout)["requests"]
    assert (background["verdict"], background["evidence"]) == ("response-first", ["client+file", "server"])
    assert (inline["verdict"], inline["evidence"]) == ("work-first", ["file+server"])
    assert background["writes"][0]["file"] == "mail.txt"
    assert background["lead_ms"] > 0
    assert background["tasks"][0]["waited_ms"] >= 0
    assert background["tasks"][0]["blocked_ms"] == 0


def test_mails_to_another_mail_server_are_no_evidence(script: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "inbox.txt"
    results: list[subprocess.CompletedProcess[bytes]] = []

    async def test() -> None:
        async with MailServer(elsewhere) as server:
            address = f"{server.host}:{server.port}"
            results.append(
                await asyncio.to_thread(fastbg, "demo", "script.toml", "--json", cwd=script.parent, FASTBG_SMTP=address)
            )

    run(test)
    assert results[0].returncode == 1
    background, inline = json.loads(results[0].stdout)["requests"]
    assert (background["verdict"], background["evidence"]) == ("response-first", ["server"])
    assert inline["verdict"] == "unproven"
    assert "fastbg cannot see it arrive" in inline["reason"]
    assert (background["writes"], background["unmet"]) == ([], [])
    assert len(elsewhere.read_text().splitlines()) == 2
    assert not (script.parent / "mail.txt").exists()


def test_an_invalid_address_ends_the_run(script: Path) -> None:
    result = fastbg("demo", "script.toml", cwd=script.parent, FASTBG_SMTP="nowhere")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"FASTBG_SMTP=nowhere" in result.stderr


def test_ctrl_c_stops_the_mail_server(script: Path) -> None:
    seen = "import os; open('port.txt', 'w').write(os.environ['SMTP_PORT'] + '\\n')\n"
    (script.parent / "app.py").write_text(seen + APP.replace("asked_inline.set()", "threading.Event().wait()"))
    process = subprocess.Popen(
        [*FASTBG, "demo", "script.toml"],
        cwd=script.parent,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    port = int(wait_for(script.parent / "port.txt", rb"\d+\n"))
    socket.create_connection(("127.0.0.1", port)).close()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
