"""The example, with every request that it is asked noted: which, and what was answered.

``FASTBG_FUZZ_APP`` names the app as module:attribute, ``FASTBG_FUZZ_NOTES`` the file for the notes: a JSON array a
line, of method, path, query string and status (null where the app raised).
"""

import json
import os
from importlib import import_module

from starlette.types import Message, Receive, Scope, Send

_module, _, _attribute = os.environ["FASTBG_FUZZ_APP"].partition(":")
_app = getattr(import_module(_module), _attribute)
_notes = open(os.environ["FASTBG_FUZZ_NOTES"], "ab", buffering=0)  # noqa: SIM115  # as long as the process runs


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI app."""
    if scope["type"] != "http":
        await _app(scope, receive, send)
        return
    status: int | None = None

    async def noting(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        await send(message)

    try:
        await _app(scope, receive, noting)
    finally:
        note = [scope["method"], scope["path"], scope["query_string"].decode("latin-1"), status]
        _notes.write(json.dumps(note).encode() + b"\n")
