"""Somebody registers and gets a mail, which takes a while: the mail server is slow, as mail servers are.

Inline, the answer waits for all of it. In the background it does not; but then the answer cannot say whether the mail
has left either, so the task writes down how it went.
"""

import os
import smtplib
import time
from email.message import EmailMessage

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

MAIL_SERVER = os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])


def note(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def send_welcome(email: str) -> None:
    message = EmailMessage()
    message["From"] = "welcome@example.com"
    message["To"] = email
    message["Subject"] = "Welcome"
    message.set_content("Good to have you here.")
    with smtplib.SMTP(*MAIL_SERVER, timeout=10) as server:
        time.sleep(0.3)  # what a server far away takes for its part of the conversation
        server.send_message(message)


def send_welcome_and_tell(email: str) -> None:
    try:
        send_welcome(email)
    except (OSError, smtplib.SMTPException) as error:
        note(f"no mail to {email}: {error}")
    else:
        note(f"welcomed {email}")


@app.post("/inline/users/{email}")
def register_inline(email: str) -> str:
    send_welcome(email)
    note(f"welcomed {email}")
    return "registered"


@app.post("/background/users/{email}")
def register(email: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(send_welcome_and_tell, email)
    return "registered"
