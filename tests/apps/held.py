"""The example app, with background tasks that wait for the request to the control.

The client sends that request last. So it has all earlier responses before the first task writes, also on a slow
machine. If the environment variable ``HOLD`` is set, control and tasks also wait for that file.
"""

import os
import threading
import time
from importlib import import_module
from pathlib import Path

from starlette.types import Receive, Scope, Send

example = import_module("fastbg.example.app")  # the package has the app itself under this name
HOLD = os.environ.get("HOLD")
append = example.append
control_requested = threading.Event()


def append_later(name: str, text: str) -> None:
    control_requested.wait()
    while HOLD and not Path(HOLD).exists():
        time.sleep(0.005)
    append(name, text)


example.append = append_later  # type: ignore[attr-defined]  # imported by name


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"] == "/foreground_tasks":
        control_requested.set()
    await example.app(scope, receive, send)
