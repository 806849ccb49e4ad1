"""A mail server whose inbox is a file, so that the arrival of a mail is seen as every other write is.

Each mail that was accepted is one line, ``mail to A from B: SUBJECT``, written at once and before the sender hears that
it was accepted. Needs aiosmtpd, the extra ``mail``.
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

MAX_BYTES = 2**20  # bytes of a mail; a larger one is refused
LONGEST = 500  # characters of the recipients, of the sender and of the subject that are written
CLOSE_S = 1.0  # how long connections that are cut may take to be gone
HOST = "127.0.0.1"


class MailServer:
    """``async with MailServer(path) as server``: takes mails for anybody at ``server.host`` and ``server.port``.

    It listens on a free port of 127.0.0.1 and appends to ``path``, whose folder is made if need be. At the end, however
    it comes, the port is free and no connection is left. Raises `FastbgError` where aiosmtpd is not installed or the
    file cannot be written.
    """

    host = HOST

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = 0
        self._connections: set[SMTP] = set()
        self._all_gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        protocol = self._protocol()
        self._try_path()
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
        self._all_gone.clear()
        for connection in list(self._connections):
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
        if self._connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._all_gone.wait()

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: N802
        """What aiosmtpd calls with each mail, and answers the sender."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        line = line_of(list(envelope.rcpt_tos), envelope.mail_from, content).encode()
        try:
            written = self._append(line)
        except OSError:
            written = 0
        return "250 OK" if written == len(line) else "451 the mail could not be written to the inbox"

    def _append(self, line: bytes) -> int:
        inbox = os.open(self.path, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            return os.write(inbox, line)
        finally:
            os.close(inbox)

    def _try_path(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append(b"")
        except OSError as error:
            raise FastbgError(
                f"the inbox of the mail server cannot be written: {error.strerror}",
                where=str(self.path),
                remedy="name another file as mail in the script, or another folder with --dir",
            ) from None

    def _protocol(self) -> Callable[[], "SMTP"]:
        try:
            from aiosmtpd.smtp import SMTP
        except ImportError:
            raise FastbgError(
                "the script needs a mail server, which needs aiosmtpd",
                where=f'mail = "{self.path.name}"',
                remedy=f"{install_command('mail')}, or name a mail server that runs: FASTBG_SMTP=host:port",
            ) from None
        connections, all_gone = self._connections, self._all_gone

        class Protocol(SMTP):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connections.add(self)
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                super().connection_lost(error)
                connections.discard(self)
                if not connections:
                    all_gone.set()

        options: dict[str, Any] = {"data_size_limit": MAX_BYTES, "enable_SMTPUTF8": True, "ident": "fastbg"}
        return lambda: Protocol(self, hostname="localhost", loop=asyncio.get_running_loop(), **options)


def line_of(recipients: list[str], sender: str | None, content: bytes) -> str:
    r"""The line of a mail in the inbox, its end included. Whatever would forge a line is shown as an escape."""
    return f"mail to {_cut(', '.join(recipients))} from {_cut(sender or '<>')}: {_cut(_subject(content))}\n"


def _cut(text: str) -> str:
    return escape_control(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def _subject(content: bytes) -> str:
    try:
        return str(BytesHeaderParser(policy=policy.default).parsebytes(content)["subject"] or "")
    except Exception:  # noqa: BLE001  # the parser fails in many ways at what is no mail
        return ""


def address_of(text: str) -> tuple[str, int]:
    """Host and port in ``FASTBG_SMTP``. Raises `FastbgError`."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise FastbgError(
            "that is no address of a mail server",
            where=f"FASTBG_SMTP={escape_control(text)}",
            remedy="write it as host:port",
        )
    return host.removeprefix("[").removesuffix("]"), int(port)
