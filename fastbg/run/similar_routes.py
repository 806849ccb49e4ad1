"""Finds the routes of an app that are similar to a request that reached none, in its OpenAPI document."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import unquote, urlsplit

from fastbg import strict_json
from fastbg.evidence.results import RequestResult
from fastbg.scripting.model import Method
from fastbg.scripting.openapi import as_mapping

if TYPE_CHECKING:
    from fastbg.run.testbed import Testbed

MAX_ROUTES = 3
MAX_REQUESTS = 20  # different ones of a part
MAX_PATHS = 500  # of a document
MAX_PATH = 200  # characters
MIN_RATIO = 0.6  # of `difflib`: 1 for equal texts
MAX_DISTANCE = 0.2  # from the highest ratio


async def add_similar_routes(results: Iterable[RequestResult], testbed: "Testbed") -> None:
    """Add similar routes to the requests that unexpectedly got 404, or 405 without the allowed methods."""
    traces = [result.trace for result in results if result.trace.status in (404, 405) and not result.trace.allow]
    traces = [trace for trace in traces if trace.status not in trace.expected.statuses]
    document = await testbed.openapi() if traces else None
    if document is None:
        return
    paths = as_mapping(as_mapping(_parsed(document)).get("paths"))
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for trace in traces:
        key = trace.request.method, _path_of(trace.request.url, testbed.url)
        if key not in found and len(found) < MAX_REQUESTS:
            found[key] = similar_routes(*key, paths)
        trace.similar_routes = found.get(key, ())


def similar_routes(method: str, path: str, paths: Mapping[str, Any]) -> tuple[str, ...]:
    """Return up to `MAX_ROUTES` routes such as "GET /users/{id}", the most similar first; none if the route exists.

    ``paths``: the object of an OpenAPI document.
    """
    ranked: list[tuple[float, bool, str]] = []
    for template, known_method in _routes(paths):
        ratio = _ratio(path[:MAX_PATH], template)
        is_method = known_method == method
        if ratio == 1 and is_method:
            return ()  # the response comes from the endpoint itself
        if ratio >= MIN_RATIO:
            ranked.append((1 - ratio, not is_method, f"{known_method} {template}"))
    ranked.sort()
    return tuple(route for distance, _, route in ranked[:MAX_ROUTES] if distance <= ranked[0][0] + MAX_DISTANCE)


def _routes(paths: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for template in list(paths)[:MAX_PATHS]:
        if len(template) <= MAX_PATH:
            yield from (
                (template, method) for method in get_args(Method) if method.lower() in as_mapping(paths[template])
            )


def _ratio(path: str, template: str) -> float:
    """Compare ``path`` with ``template``, without the parameters: any value would be equal there."""
    parts, wanted = path.split("/"), template.split("/")
    if len(parts) == len(wanted):
        pairs = [pair for pair in zip(parts, wanted, strict=True) if not _is_parameter(*pair)]
        path, template = "/".join(part for part, _ in pairs), "/".join(name for _, name in pairs)
    matcher = SequenceMatcher(None, path, template, autojunk=False)
    return matcher.ratio() if matcher.real_quick_ratio() >= MIN_RATIO <= matcher.quick_ratio() else 0.0


def _is_parameter(part: str, name: str) -> bool:
    return bool(part) and name[:1] == "{" and name[-1] == "}"


def _path_of(url: str, base: str | None) -> str:
    """Return the path of ``url`` below the URL of the server."""
    prefix = urlsplit(base or "").path.rstrip("/")
    return unquote(urlsplit(url).path.removeprefix(prefix))


def _parsed(document: bytes) -> Any:
    try:
        return strict_json.loads(document)
    except ValueError:
        return None
