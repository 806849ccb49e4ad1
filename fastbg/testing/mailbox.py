"""A mail server for tests: the one of scripts, whose mails a test can read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fastbg.errors import FastbgError, install_command
from fastbg.services.mail import HOST, MailServer
from fastbg.testing.event_loop import start_portal

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as the server received it. ``message``: its headers and content."""

    sender: str
    recipients: tuple[str, ...]
    subject: str
    message: EmailMessage

    @property
    def text(self) -> str:
        """The plain text of the mail, else its HTML; empty without both."""
        body = self.message.get_body(("plain", "html"))
        return "" if body is None else str(body.get_content())


class Mailbox:
    """The mail server at ``host`` and ``port``. It accepts mails for every recipient."""

    host = HOST

    def __init__(self, path: Path) -> None:
        self._server = _CollectingServer(path)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def mails(self) -> list[Mail]:
        """The mails that arrived since the test started. A mail has arrived when the call that sent it returns."""
        return list(self._server.mails)

    def start_test(self) -> None:
        """Discard the mails from before the test."""
        self._server.mails.clear()

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Run the server in a thread. Raises `FastbgError` without aiosmtpd."""
        with (
            start_portal() as portal,
            portal.wrap_async_context_manager(self._server),
        ):
            yield self


class _CollectingServer(MailServer):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.mails: list[Mail] = []

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: N802
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        message = message_from_bytes(content.replace(b"\r\n", b"\n"), EmailMessage, policy=policy.default)
        subject = str(message["subject"] or "")
        self.mails.append(Mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), subject, message))
        return await super().handle_DATA(server, session, envelope)

    def missing(self) -> FastbgError:
        return FastbgError(
            "aiosmtpd is not installed, and the fixture's mail server needs it",
            where="the fixture fastbg_mail",
            remedy=install_command("mail"),
        )
