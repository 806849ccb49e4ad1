"""Creates a sample request for an operation of an app: path, parameters, credentials and body. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from fastbg.scripting.openapi import Schemas, example, is_upload
from fastbg.scripting.refused_values import NAME_CHARACTER
from fastbg.scripting.routes import Operation
from fastbg.scripting.sample_names import MARK
from fastbg.scripting.samples import Samples, cleaned
from fastbg.text import escape_control

Scalar = str | int | float

_TOKEN = re.compile(f"{NAME_CHARACTER}+", re.ASCII)
_NOT_IN_PATHS = re.compile(r"[\x00-\x20\x7f\"#%<>?\[\\\]^`{|}]")
_EXCLUDED_HEADERS = {
    *("accept-encoding", "connection", "content-length", "content-type", "host", "te", "transfer-encoding"),
    "x-request-id",  # fastbg sends one, so that the app's log names the request
}
_KINDS = {"IntegerConvertor": "1", "FloatConvertor": "1.5", "UUIDConvertor": "6b1a3f0e-52c4-4c8a-9d7e-1f2a3b4c5d6e"}


@dataclass(slots=True)
class SampleRequest:
    """A request of sample values that an operation is likely to accept.

    ``template``: path with the names of its parameters. ``remarks``: notes for the author of the script.
    """

    method: str
    template: str
    path: str = ""
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    cookies: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    form: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, str]] = field(default_factory=list)
    body: str | None = None
    status: int = 200
    remarks: list[str] = field(default_factory=list)


def sample_request(operation: Operation) -> SampleRequest:
    schemas = Schemas(operation.document)
    samples = Samples(schemas)
    request = SampleRequest(operation.method, cleaned(operation.path), status=operation.status or 200)
    if "responses" not in operation.description:
        request.remarks.append("This route is not in an OpenAPI document: add its query, json or form.")
    in_path: dict[str, str] = {}
    for parameter in map(schemas.resolved, operation.description.get("parameters", [])):
        name, place = cleaned(str(parameter.get("name"))), parameter.get("in")
        value = _parameter(samples, parameter, name)
        if place == "path" and isinstance(value, Scalar):
            in_path[name] = _as_text(value)
        elif place == "query" and (items := _scalars(value)):
            request.query[name] = items
        elif place == "header" and name.lower() not in _EXCLUDED_HEADERS:
            _add(request.headers, name, value)
        elif place == "cookie":
            _add(request.cookies, name, value)
    _secure(request, operation)
    _fill(request, samples, schemas.resolved(operation.description.get("requestBody")).get("content", {}))
    if samples.unmet:
        names = ", ".join(map(escape_control, samples.unmet))
        request.remarks.append(f"fastbg found no value for the pattern of {names}: replace it with one of your own.")
    request.path = _path(operation, in_path)
    return request


def _path(operation: Operation, values: Mapping[str, str]) -> str:
    """Return the path with ``values`` for its parameters; a missing value gets a sample of its kind."""
    path = ""
    for number, piece in enumerate(re.split(r"\{(\w+)\}", operation.path)):
        if number % 2:
            path += _quoted(values.get(piece) or _KINDS.get(operation.kinds.get(piece, ""), MARK))
        else:
            path += _quoted(piece).replace(MARK, quote(MARK))
    return path


def _quoted(text: str) -> str:
    return _NOT_IN_PATHS.sub(lambda found: quote(found[0]), text)


def _parameter(samples: Samples, parameter: Mapping[str, Any], name: str) -> Any:
    """Return a value for a parameter; a parameter with ``content`` gets JSON."""
    known = parameter.get("in") != "query"
    given = cleaned(example(parameter))
    for holder in parameter.get("content", {}).values():
        value = samples.of(holder.get("schema"), name, given=given or cleaned(example(holder)), known=known)
        return json.dumps(value, ensure_ascii=False)
    return samples.of(parameter.get("schema"), name, given=given, known=known)


def _secure(request: SampleRequest, operation: Operation) -> None:
    """Add the credentials of the first security requirement, unless one is empty."""
    requirements = operation.description.get("security") or operation.document.get("security") or [{}]
    schemes = operation.document.get("components", {}).get("securitySchemes", {})
    if all(requirements):
        request.remarks.append('Take a secret of your own from the environment: "${env.NAME}".')
    for name in requirements[0] if all(requirements) else ():
        scheme = schemes.get(name, {})
        if scheme.get("type") == "apiKey":
            places = {"query": request.query, "header": request.headers, "cookie": request.cookies}
            _add(places.get(scheme.get("in"), {}), cleaned(str(scheme.get("name"))), MARK)
        elif scheme.get("scheme") == "basic":
            request.headers["Authorization"] = "Basic dXNlcjpwYXNzd29yZA=="  # user:password
        else:
            request.headers["Authorization"] = f"Bearer {MARK}"


def _fill(request: SampleRequest, samples: Samples, content: Mapping[str, Any]) -> None:
    """Add a body in the preferred media type of ``content``."""
    kinds = [r"application/json", r".*[/+]json", r"multipart/form-data", r".*/x-www-form-urlencoded", r".*"]
    media = next((media for kind in kinds for media in content if re.fullmatch(kind, media)), None)
    if media is None:
        return
    schema = content[media].get("schema")
    value = samples.of(schema, "", given=cleaned(example(content[media])))
    if "form" in media and isinstance(value, dict):
        _fill_form(request, samples.schemas, schema, value)
        return
    if "json" in media:
        request.json = value
    else:
        request.body = MARK if value is None else value if isinstance(value, str) else json.dumps(value)
    if media != "application/json":
        _add(request.headers, "Content-Type", media)


def _fill_form(request: SampleRequest, schemas: Schemas, schema: object, sample: Mapping[str, Any]) -> None:
    """Add a form; fields that are files become uploads."""
    properties = schemas.resolved(schema).get("properties", {})
    for name, item in sample.items():
        field_schema = schemas.resolved(properties.get(name))
        if name and (is_upload(field_schema) or is_upload(schemas.resolved(field_schema.get("items")))):
            request.files.append({"field": name, "name": "sample.txt", "text": f"{MARK}\n"})
        elif name and item != []:
            items = _scalars(item)
            request.form[name] = items if items is not None else json.dumps(item, ensure_ascii=False)


def _add(table: dict[str, Any], name: str, value: Any) -> None:
    """Add ``value`` to a table of headers, cookies or query parameters, if HTTP allows it there."""
    text = _as_text(value[0] if isinstance(value, list) and value else value)
    if _TOKEN.fullmatch(name) and isinstance(value, Scalar | list) and text.replace(MARK, "").isprintable():
        table[name] = text.replace(";", "")


def _scalars(value: Any) -> Any:
    """Return ``value`` if it can be a parameter: a string, number or boolean, or a list of them."""
    items = value if isinstance(value, list) else [value]
    return value if items and all(isinstance(item, Scalar) for item in items) else None


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
