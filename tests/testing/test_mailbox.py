"""The mail server of tests."""

import builtins
import smtplib
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from fastbg.errors import FastbgError
from fastbg.testing import Mailbox
from tests.support.processes import PATIENCE_S


def send(mailbox: Mailbox, message: EmailMessage, *recipients: str) -> None:
    with smtplib.SMTP(mailbox.host, mailbox.port, timeout=PATIENCE_S) as connection:
        connection.send_message(message, "shop@example.com", recipients)


def mail(subject: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content("Grüße\n")
    message.add_alternative("<p>Grüße</p>", subtype="html")
    return message


def test_mails_are_there_when_they_were_sent(tmp_path: Path) -> None:
    with Mailbox(tmp_path / "mail.txt").running() as mailbox:
        send(mailbox, mail("one 中"), "a@example.com", "b@example.com")
        (received,) = mailbox.mails
        assert (received.sender, received.recipients) == ("shop@example.com", ("a@example.com", "b@example.com"))
        assert (received.subject, received.text) == ("one 中", "Grüße\n")
        send(mailbox, mail("two"), "c@example.com")
        assert [each.subject for each in mailbox.mails] == ["one 中", "two"]
        mailbox.start_test()
        assert mailbox.mails == []


def test_mail_without_a_text_is_empty(tmp_path: Path) -> None:
    message = EmailMessage()
    message.add_attachment(b"x", maintype="image", subtype="png")
    with Mailbox(tmp_path / "mail.txt").running() as mailbox:
        send(mailbox, message, "a@example.com")
        assert [(each.subject, each.text) for each in mailbox.mails] == [("", "")]


def test_missing_extra_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("aiosmtpd"):
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        pytest.raises(FastbgError, match="aiosmtpd is not installed, and the fixture's mail server") as caught,
        Mailbox(tmp_path / "mail.txt").running(),
    ):
        pass
    assert caught.value.where == "the fixture fastbg_mail"
    assert caught.value.remedy.startswith("pip install '.[mail]'")
