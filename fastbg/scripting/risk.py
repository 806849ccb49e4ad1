"""Decides which requests fastbg does not send unless a script asks for them. Pure."""

import re
from itertools import pairwise

from fastbg.scripting.routes import Operation

DESTROYS, CHANGES = "may destroy data", "may change data"
SAFE_METHODS = ("GET", "HEAD")

_WORDS = """
    abort ban cancel cancellation clean cleanup clear close deactivate deactivation decommission del delete
    deleted deletion deprovision deregister destroy disable discard downgrade drop empty erase erasure evict exit expire
    flush halt kill logoff logout nuke overwrite poweroff prune purge quit reboot remove removal reset restart
    revoke rollback shutdown signoff signout stop suspend terminate termination truncate uninstall unlink unregister
    unsubscribe wipe
"""
_DESTRUCTIVE = frozenset(_WORDS.split())
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PARAMETER = re.compile(r"\{[^{}]*\}")


def risk(operation: Operation) -> str | None:
    """Return why fastbg must not send this request unasked, `DESTROYS` or `CHANGES`, or None if it may.

    A route that takes `BackgroundTasks` is requested although it may change data: its tasks are what the user asks for.
    """
    if destroys(operation):
        return DESTROYS
    if not operation.takes_tasks and operation.method not in SAFE_METHODS:
        return CHANGES
    return None


def destroys(operation: Operation) -> str | None:
    """Return what says that a request may destroy data, None if nothing does.

    That is the method DELETE, or a word in a segment of the path or in the name of the endpoint, also as "log-out".
    """
    if operation.method == "DELETE":
        return "DELETE"
    for name in (*_PARAMETER.sub("", operation.path).split("/"), operation.endpoint):
        words = [word.lower() for word in _WORD.findall(name)]
        for word in (*words, *map("".join, pairwise(words))):
            if word in _DESTRUCTIVE:
                return f'"{word}" in {name}'
    return None
