"""A registration that sends an email through a slow mail server, in the endpoint and in a background task.

If the endpoint sends the email, the response waits for it. With a background task it does not, but then the response
cannot say whether the email was sent: so the task writes the result to a log.
"""

import os
import smtplib
import time
from email.message import EmailMessage

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

MAIL_SERVER = os.environ["SMTP_HOST"], int(os.environ["SMTP_PORT"])


def write_log(line: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(line + "\n")


def send_welcome(email: str) -> None:
    message = EmailMessage()
    message["From"] = "welcome@example.com"
    message["To"] = email
    message["Subject"] = "Welcome"
    message.set_content("Good to have you here.")
    with smtplib.SMTP(*MAIL_SERVER, timeout=10) as server:
        time.sleep(0.3)  # the mail server is slow
        server.send_message(message)


def send_welcome_and_log(email: str) -> None:
    try:
        send_welcome(email)
    except (OSError, smtplib.SMTPException) as error:
        write_log(f"no mail to {email}: {error}")
    else:
        write_log(f"welcomed {email}")


@app.post("/inline/users/{email}")
def register_inline(email: str) -> str:
    send_welcome(email)
    write_log(f"welcomed {email}")
    return "registered"


@app.post("/background/users/{email}")
def register(email: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(send_welcome_and_log, email)
    return "registered"
