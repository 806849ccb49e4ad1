"""Adds the headers, query parameters and cookies of a script to each of its requests. Pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastbg.scripting import placeholders
from fastbg.scripting.model import Request, Script


def with_common_values(script: Script) -> Script:
    """Return ``script`` with its headers, query and cookies in each request. What a request sets itself stays.

    A value with the placeholder of a saved value is sent from the request after the first one that saves it.
    """
    requests = [request for part in script.all_parts for request in part.requests]
    ever = {name for request in requests for name in request.save}
    saved: set[str] = set()

    def completed(request: Request) -> Request:
        sent = {key: _known(getattr(script, key), ever - saved) for key in ("headers", "query", "cookies")}
        if any(name.lower() == "cookie" for name in request.headers):  # its own are all of its cookies
            sent["cookies"] = {}
        in_path = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
        sent["query"] = {name: value for name, value in sent["query"].items() if name not in in_path}
        saved.update(request.save)
        changes = {key: merged(key, common, getattr(request, key)) for key, common in sent.items()}
        changes = {key: table for key, table in changes.items() if table != getattr(request, key)}
        return request.model_copy(update=changes) if changes else request

    if not script.parts:
        return script.model_copy(update={"requests": [completed(request) for request in script.requests]})
    parts = [
        part.model_copy(update={"requests": [completed(request) for request in part.requests]}) for part in script.parts
    ]
    return script.model_copy(update={"parts": parts})


def _known(table: Mapping[str, Any], unknown: set[str]) -> dict[str, Any]:
    """Return the entries of ``table`` without the placeholders of ``unknown`` values."""
    return {name: value for name, value in table.items() if not placeholders.used({name: value}) & unknown}


def merged(key: str, common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table ``key`` of a request: ``common`` and its ``own``, without those that are set to ``[]``."""
    fold = str.lower if key == "headers" else str
    names = {fold(name) for name in own}
    kept = {name: value for name, value in common.items() if fold(name) not in names}
    return kept | {name: value for name, value in own.items() if value != []}
