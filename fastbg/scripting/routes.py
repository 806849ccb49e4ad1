"""Finds the operations of an app in its routes and its OpenAPI document.

Included routers and mounted apps are searched too; each app has its own OpenAPI document.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from starlette.routing import Mount, Route

from fastbg.errors import FastbgError
from fastbg.scripting.model import Method

METHODS: tuple[str, ...] = get_args(Method)

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """A method and a path of an app.

    ``path``: with the prefix of its mount, such as "/users/{id}". ``takes_tasks``: whether the route or a dependency
    takes `BackgroundTasks`, None if unknown. ``endpoint``: name of its function or class. ``status``: status of its
    response, None if unknown. ``description``: its OpenAPI object in ``document``, empty without one. ``kinds``:
    classes of Starlette's converters for the path parameters, such as "IntegerConvertor". ``called``: the endpoint
    itself. ``dependant``: what FastAPI passes to it, None for a route of Starlette.
    """

    method: str
    path: str
    takes_tasks: bool | None
    endpoint: str = ""
    status: int | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    called: object = None
    dependant: Any = None


def operations(app: object) -> list[Operation]:
    """Return the operations of an ASGI app in the order of its routes."""
    return list(_of_app(_inmost(app), "", {}, (), _document))


def undocumented_operations(app: object) -> list[Operation]:
    """Return the operations without their OpenAPI objects: of 400 routes in 10 ms, not in a second."""
    return list(_of_app(_inmost(app), "", {}, (), lambda app, routes: {}))


def documented(app: object, operation: Operation) -> Operation:
    """Return an undocumented ``operation`` of ``app`` with its OpenAPI object."""

    def document(_: Any, routes: Sequence[Any]) -> Mapping[str, Any]:
        return _document_of(
            [route for route in routes if hasattr(route, "dependant") and operation.path.endswith(route.path_format)]
        )

    same = operation.method, operation.path
    return next(each for each in _of_app(_inmost(app), "", {}, (), document) if (each.method, each.path) == same)


def _inmost(app: object) -> object:
    """Return the app inside middleware, which has it as ``app``."""
    for _ in range(100):
        if hasattr(app, "routes") or not hasattr(app, "app"):
            break
        app = app.app
    return app


_MakeDocument = Callable[[Any, Sequence[Any]], Mapping[str, Any]]


def _of_app(
    app: Any, prefix: str, kinds: Mapping[str, str], around: tuple[object, ...], make_document: _MakeDocument
) -> Iterator[Operation]:
    if app in around:
        return
    routes = list(_flat(getattr(app, "routes", None) or []))
    document = make_document(app, routes)
    for route in routes:
        original = getattr(route, "original_route", route)
        here = {**kinds, **{name: type(kind).__name__ for name, kind in getattr(route, "param_convertors", {}).items()}}
        if isinstance(original, Mount):
            inner = _inmost(getattr(route, "_base_app", route.app))
            yield from _of_app(inner, prefix + _PARAMETER.sub(r"{\1}", route.path), here, (*around, app), make_document)
        elif isinstance(original, Route):
            yield from _of_route(route, prefix, here, document)


def _flat(routes: Sequence[Any]) -> Iterator[Any]:
    """Return the routes, including those of included routers."""
    try:
        from fastapi.routing import iter_route_contexts  # type: ignore[attr-defined, unused-ignore]  # newer FastAPI
    except ImportError:
        return iter(routes)
    return iter(iter_route_contexts(routes))


def _document(app: Any, routes: Sequence[Any]) -> Mapping[str, Any]:
    """Return the OpenAPI document. The app does not keep it: its routes may still change when it starts up."""
    try:
        with warnings.catch_warnings(action="ignore"):
            if callable(getattr(app, "openapi", None)):
                kept = getattr(app, "openapi_schema", None)
                document = dict(app.openapi())
                app.openapi_schema = kept
                return document
            if any(hasattr(route, "dependant") for route in routes):  # a mounted router without an app
                return _document_of(app.routes)
    except Exception as error:
        raise FastbgError(
            f"the app cannot create its OpenAPI document: {type(error).__name__}: {error}",
            where="app.openapi()",
            remedy="fix the app, then check its /openapi.json",
        ) from error
    return {}


def _document_of(routes: Sequence[Any]) -> Mapping[str, Any]:
    from fastapi.openapi.utils import get_openapi

    return get_openapi(title="", version="", routes=routes)


def _of_route(route: Any, prefix: str, kinds: Mapping[str, str], document: Mapping[str, Any]) -> Iterator[Operation]:
    dependant = getattr(route, "dependant", None)
    if dependant is None and not route.include_in_schema:
        return  # the OpenAPI document and its pages
    item = document.get("paths", {}).get(route.path_format, {})
    for method in _methods(route):
        description = dict(item.get(method.lower(), {}))
        description["parameters"] = [*item.get("parameters", []), *description.get("parameters", [])]
        codes = [int(code) for code in description.get("responses", {}) if re.fullmatch("2[0-9][0-9]", str(code))]
        yield Operation(
            method,
            prefix + route.path_format,
            None if dependant is None else _takes_tasks(dependant),
            getattr(route.endpoint, "__name__", ""),
            next(iter(codes), getattr(route, "status_code", None)),
            description,
            document,
            kinds,
            route.endpoint,
            dependant,
        )


def _methods(route: Any) -> list[str]:
    """Return the methods of a route that a script can use; HEAD only without GET."""
    methods = route.methods
    if methods is None:  # the endpoint is a class or an ASGI app
        methods = {method for method in METHODS if hasattr(route.endpoint, method.lower())} or {"GET"}
    return [method for method in METHODS if method in methods and not (method == "HEAD" and "GET" in methods)]


def _takes_tasks(dependant: Any) -> bool:
    return bool(dependant.background_tasks_param_name) or any(map(_takes_tasks, dependant.dependencies))
