"""The example app, with each background task held back until the control is asked.

The client asks for the control last. So it has every earlier response, whole, before the first task writes, however
slow the machine is. Where the environment has ``HOLD``, the control and the tasks also wait for that file.
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
control_asked = threading.Event()


def held(name: str, text: str) -> None:
    control_asked.wait()
    while HOLD and not Path(HOLD).exists():
        time.sleep(0.005)
    append(name, text)


example.append = held  # type: ignore[attr-defined]  # a module that is only known by its name


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"] == "/foreground_tasks":
        control_asked.set()
    await example.app(scope, receive, send)
