"""The curl command of a request that an app is likely to accept."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from fastbg.scripting.risk import risk
from fastbg.scripting.routes import Operation, documented, undocumented_operations
from fastbg.scripting.sample_names import MARK
from fastbg.scripting.sample_request import SampleRequest, sample_request

_CANDIDATES = 5  # operations whose OpenAPI objects are made
_SAMPLE = "0a1b2c-1"  # stands for ${mark}: text of the form that samples are checked with


def curl_of_app(app: object, url: str, options: Sequence[str] = ()) -> str | None:
    """Return a curl command for an operation of ``app`` at ``url``, None if each could change or destroy something.

    ``options``: more options of curl.

    An operation that takes `BackgroundTasks` and needs no secret is preferred. Without any operation it requests the
    root.
    """
    found = [operation for operation in undocumented_operations(app) if not operation.path.startswith("//")]
    if not found:
        return shlex.join(["curl", *options, f"{url}/"])
    harmless = sorted((operation for operation in found if risk(operation) is None), key=_rank)
    best = [documented(app, operation) for operation in harmless[:_CANDIDATES]]
    best.sort(key=lambda operation: (not operation.takes_tasks, bool(operation.description.get("security"))))
    return curl(sample_request(best[0]), url, options) if best else None


def _rank(operation: Operation) -> tuple[bool, bool]:
    """Return the rank of an operation, the lowest first: it takes tasks, and needs no id in its path."""
    return not operation.takes_tasks, "{" in operation.path


def curl(request: SampleRequest, url: str, options: Sequence[str] = ()) -> str:
    """Return the curl command of ``request`` to the server at ``url``, quoted for a shell. ``options``: as above."""
    body = _body(request)
    method = {"GET": ["-X", "GET"] if body else [], "HEAD": ["--head"]}.get(request.method, ["-X", request.method])
    query = urlencode(_pairs(request.query))
    headers = [word for name, value in _pairs(request.headers) for word in ("-H", f"{name}: {value}")]
    cookies = "; ".join(f"{name}={value}" for name, value in _pairs(request.cookies))
    target = url + _filled(request.path.replace(quote(MARK), MARK)) + (f"?{query}" if query else "")
    return shlex.join(["curl", *options, *method, target, *headers, *(["-b", cookies] if cookies else []), *body])


def _body(request: SampleRequest) -> list[str]:
    if request.json is not None:
        is_typed = any(name.lower() == "content-type" for name in request.headers)
        media = [] if is_typed else ["-H", "Content-Type: application/json"]
        return [*media, "-d", json.dumps(_filled(request.json), ensure_ascii=False)]
    if request.body is not None:
        return ["--data-raw", _filled(request.body)]
    option = "--form-string" if request.files else "--data-urlencode"
    fields = [word for name, value in _pairs(request.form) for word in (option, f"{name}={value}")]
    uploads = [f"{file['field']}={_filled(file['text'].strip())};filename={file['name']}" for file in request.files]
    return [*fields, *(word for upload in uploads for word in ("-F", upload))]


def _pairs(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names and values of ``table`` as text; an array becomes several pairs."""
    arrays = {name: value if isinstance(value, list) else [value] for name, value in _filled(table).items()}
    return [
        (name, str(item).lower() if isinstance(item, bool) else str(item))
        for name, items in arrays.items()
        for item in items
    ]


def _filled(value: Any) -> Any:
    """Return ``value`` with a sample in place of each mark."""
    match value:
        case str():
            return value.replace(MARK, _SAMPLE)
        case dict():
            return {_filled(name): _filled(item) for name, item in value.items()}
        case list():
            return [_filled(item) for item in value]
    return value
