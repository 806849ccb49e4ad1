"""Finds the values that a request saves of what it sends: ``request.json.email``, ``request.query.q``. Pure."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastbg.scripting import placeholders
from fastbg.scripting.common_values import merged
from fastbg.text import did_you_mean

REQUEST = "request."
MAX_NAMED = 10  # values that a message names


def sent_values(
    *, path: str, query: Mapping[str, Any], headers: Mapping[str, Any], url: str = "", **others: Any
) -> dict[str, Any]:
    """Return what a request sends, for `sent_value`. ``others``: its cookies, json, form and body, None without one.

    A parameter in the query of ``path`` counts as one of ``query``.
    """
    in_path = parse_qs(urlsplit(path).query, keep_blank_values=True)
    parameters = {name: items[0] if len(items) == 1 else items for name, items in in_path.items()} | dict(query)
    in_lower_case = {name.lower(): value for name, value in headers.items()}
    sent = {**others, "query": parameters, "headers": in_lower_case, "path": path, "url": url}
    return {name: value for name, value in sent.items() if value is not None}


def sent_value(place: str, sent: Mapping[str, Any]) -> Any:
    """Return the value at ``place`` ("request.json.email") of what was sent. Raises `LookupError`."""
    kind, _, name = place.removeprefix(REQUEST).partition(".")
    table = sent[kind]
    name = name.lower() if kind == "headers" else name
    return table[name] if isinstance(table, Mapping) and name in table else placeholders.at(table, name)


def unknown_value(place: str, request: Mapping[str, Any], common: Mapping[str, Any]) -> str | None:
    """Return a message if ``request``, a table of a script, does not send the value at ``place`` of its ``save``.

    ``common``: the headers, query and cookies of the script. A text with a placeholder may stand for anything.
    """
    if not place.startswith(REQUEST) or not isinstance(request.get("path"), str):
        return None
    tables: dict[str, Any] = {key: merged(key, _table(common, key), _table(request, key)) for key in common}
    bodies: dict[str, Any] = {key: request.get(key) for key in ("json", "form", "body")}
    sent = sent_values(path=request["path"], **tables, **bodies)
    if _may_have(place, sent):
        return None
    wrong, names = place.removeprefix(REQUEST), [".".join(map(str, path)) for path, _ in placeholders.leaves(sent)]
    named = ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
    return f"the request does not send {wrong}{did_you_mean(wrong, names)} (it sends {named})"


def _table(tables: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = tables.get(key)
    return table if isinstance(table, Mapping) else {}


def _may_have(place: str, sent: Mapping[str, Any]) -> bool:
    """Return whether the value at ``place`` is sent, or may be in a text with a placeholder."""
    parts = place.split(".")
    around = [_found(".".join(parts[:end]), sent) for end in range(2, len(parts))]
    return _found(place, sent) is not None or any(isinstance(each, str) and placeholders.names(each) for each in around)


def _found(place: str, sent: Mapping[str, Any]) -> Any:
    with suppress(LookupError):
        return sent_value(place, sent)
    return None
