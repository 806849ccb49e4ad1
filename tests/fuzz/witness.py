"""The example app with a log of all requests and their statuses.

``FASTBG_FUZZ_APP`` is the app as module:attribute, ``FASTBG_FUZZ_NOTES`` the log file. Each line of the log is a JSON
array of method, path, query string and status (null if the app raised).
"""

import json
import os
from importlib import import_module

from starlette.types import Message, Receive, Scope, Send

_module, _, _attribute = os.environ["FASTBG_FUZZ_APP"].partition(":")
_app = getattr(import_module(_module), _attribute)
_log = open(os.environ["FASTBG_FUZZ_NOTES"], "ab", buffering=0)  # noqa: SIM115  # open until the process ends


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        await _app(scope, receive, send)
        return
    status: int | None = None

    async def send_and_log(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    try:
        await _app(scope, receive, send_and_log)
    finally:
        entry = [scope["method"], scope["path"], scope["query_string"].decode("latin-1"), status]
        _log.write(json.dumps(entry).encode() + b"\n")
