"""Decides which requests fastbg does not send unless a script asks for them. Pure."""

import re
from itertools import pairwise

from fastbg.scripting.routes import Operation

DESTROYS, CHANGES = "may destroy data", "may change data"
SAFE_METHODS = ("GET", "HEAD")

_WORDS = """
    abort ban cancel clean cleanup clear close deactivate del delete destroy disable discard drop empty erase evict exit
    expire flush halt kill logoff logout overwrite prune purge quit reboot remove reset restart revoke rollback shutdown
    signoff signout stop suspend terminate truncate uninstall unlink unregister unsubscribe wipe
"""
_DESTRUCTIVE = frozenset(_WORDS.split())
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PARAMETER = re.compile(r"\{[^{}]*\}")


def risk(operation: Operation) -> str | None:
    """Return why fastbg must not send this request unasked, `DESTROYS` or `CHANGES`, or None if it may.

    A route that takes `BackgroundTasks` is requested although it may change data: its tasks are what the user asks for.
    """
    if operation.method == "DELETE" or _has_destructive_word(operation.path, operation.endpoint):
        return DESTROYS
    if not operation.takes_tasks and operation.method not in SAFE_METHODS:
        return CHANGES
    return None


def _has_destructive_word(path: str, endpoint: str) -> bool:
    """Return whether a segment of ``path`` or a part of the name ``endpoint`` is such a word, also as "log-out"."""
    for name in (*_PARAMETER.sub("", path).split("/"), endpoint):
        words = [word.lower() for word in _WORD.findall(name)]
        if not _DESTRUCTIVE.isdisjoint((*words, *map("".join, pairwise(words)))):
            return True
    return False
