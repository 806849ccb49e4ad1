"""A mail server whose inbox is a file. A follower sees an incoming mail like any other write to a file.

Each accepted mail is one line, ``mail to A from B: SUBJECT``. The line is written before the sender gets the response
250. Needs aiosmtpd, the extra ``mail``.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from email import policy
from email.parser import BytesHeaderParser
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fastbg.errors import FastbgError, install_command
from fastbg.server.listener import bind
from fastbg.text import escape_control

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_BYTES = 2**20  # bytes of a mail; a larger mail is refused
MAX_FIELD = 500  # characters per field of the line: recipients, sender, subject
CLOSE_S = 1.0  # how long aborted connections may take to close
HOST = "127.0.0.1"


class MailServer:
    """An SMTP server at ``server.host`` and ``server.port``: ``async with MailServer(path) as server``.

    It accepts mails for every recipient. It listens on a free port of 127.0.0.1, and appends to ``path``; the folder is
    created if it does not exist. At the end of the block the port is free and all connections are closed, also after an
    exception. Raises `FastbgError` if aiosmtpd is not installed or the file cannot be written.
    """

    host = HOST

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = 0
        self._connections: set[SMTP] = set()
        self._all_closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        protocol = self._protocol()
        self._check_path()
        listener = bind(HOST, 0)
        self.port = listener.getsockname()[1]
        try:
            self._server = await asyncio.get_running_loop().create_server(protocol, sock=listener)
        except BaseException:
            listener.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        self._all_closed.clear()
        for connection in list(self._connections):
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
        if self._connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._all_closed.wait()

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: N802
        """Write the mail, and return the SMTP response. aiosmtpd calls this for each mail."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        line = inbox_line(list(envelope.rcpt_tos), envelope.mail_from, content).encode()
        try:
            written = self._append(line)
        except OSError:
            written = 0
        return "250 OK" if written == len(line) else "451 the mail could not be written to the inbox"

    def missing(self) -> FastbgError:
        """Return the error if aiosmtpd is not installed."""
        return FastbgError(
            "aiosmtpd is not installed, and the script's mail server needs it",
            where=f'mail = "{self.path.name}"',
            remedy=f"{install_command('mail')}, or use a running mail server: FASTBG_SMTP=host:port",
        )

    def _append(self, line: bytes) -> int:
        inbox = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            return os.write(inbox, line)
        finally:
            os.close(inbox)

    def _check_path(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(b"")
        except OSError as error:
            raise FastbgError(
                f"the inbox of the mail server cannot be written: {error.strerror}",
                where=str(self.path),
                remedy="choose another file for `mail` in the script, or another folder with --dir",
            ) from None

    def _protocol(self) -> Callable[[], "SMTP"]:
        try:
            from aiosmtpd.smtp import SMTP
        except ImportError:
            raise self.missing() from None
        connections, all_closed = self._connections, self._all_closed

        class Protocol(SMTP):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connections.add(self)
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                super().connection_lost(error)
                connections.discard(self)
                if not connections:
                    all_closed.set()

        options: dict[str, Any] = {"data_size_limit": MAX_BYTES, "enable_SMTPUTF8": True, "ident": "fastbg"}
        return lambda: Protocol(self, hostname="localhost", loop=asyncio.get_running_loop(), **options)


def inbox_line(recipients: list[str], sender: str | None, content: bytes) -> str:
    """Return the line of a mail in the inbox, with its newline. Control characters are escaped."""
    return f"mail to {_cut(', '.join(recipients))} from {_cut(sender or '<>')}: {_cut(_subject(content))}\n"


def _cut(text: str) -> str:
    return escape_control(text if len(text) <= MAX_FIELD else text[: MAX_FIELD - 1] + "…")


def _subject(content: bytes) -> str:
    try:
        return str(BytesHeaderParser(policy=policy.default).parsebytes(content)["subject"] or "")
    except Exception:  # noqa: BLE001  # the parser raises many types of exceptions if the content is not a valid mail
        return ""


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``FASTBG_SMTP``. Raises `FastbgError`."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise FastbgError(
            "not a valid address of a mail server",
            where=f"FASTBG_SMTP={escape_control(text)}",
            remedy="write it as host:port",
        )
    return host.removeprefix("[").removesuffix("]"), int(port)
