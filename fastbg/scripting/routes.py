"""What an app answers to: its operations, as its routes and its OpenAPI document tell of them.

Routers that are included and apps that are mounted are looked into; each app has an OpenAPI document of its own.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from starlette.routing import Mount, Route

from fastbg.errors import FastbgError
from fastbg.scripting.model import Method

METHODS: tuple[str, ...] = get_args(Method)

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


@dataclass(frozen=True, slots=True)
class Operation:
    """``method`` and ``path`` ("/users/{id}", with what it is mounted under).

    ``takes_tasks``: whether the route or a dependency of it takes `BackgroundTasks`; None where nobody can know.
    ``told``: its OpenAPI object, in ``document``; empty without one. ``status``: of its response where it is known.
    ``kinds``: of the parameters in the path, those of Starlette: "int", "uuid" and so on.
    """

    method: str
    path: str
    takes_tasks: bool | None
    status: int | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)


def operations(app: object) -> list[Operation]:
    """The operations of an ASGI app, in the order of its routes; none of an app that has no routes."""
    return list(_of_app(_inmost(app), "", {}, ()))


def _inmost(app: object) -> object:
    """The app inside middleware that keeps it as ``app``."""
    for _ in range(100):
        if hasattr(app, "routes") or not hasattr(app, "app"):
            break
        app = app.app
    return app


def _of_app(app: Any, prefix: str, kinds: Mapping[str, str], around: tuple[object, ...]) -> Iterator[Operation]:
    if app in around:
        return
    routes = list(_flat(getattr(app, "routes", None) or []))
    document = _document(app, routes)
    for route in routes:
        original = getattr(route, "original_route", route)
        here = {**kinds, **{name: type(kind).__name__ for name, kind in getattr(route, "param_convertors", {}).items()}}
        if isinstance(original, Mount):
            inner = _inmost(getattr(route, "_base_app", route.app))
            yield from _of_app(inner, prefix + _PARAMETER.sub(r"{\1}", route.path), here, (*around, app))
        elif isinstance(original, Route):
            yield from _of_route(route, prefix, here, document)


def _flat(routes: Sequence[Any]) -> Iterator[Any]:
    """The routes, with those of included routers in their places."""
    try:
        from fastapi.routing import iter_route_contexts  # type: ignore[attr-defined, unused-ignore]  # newer FastAPI
    except ImportError:
        return iter(routes)
    return iter(iter_route_contexts(routes))


def _document(app: Any, routes: Sequence[Any]) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):
            if callable(getattr(app, "openapi", None)):
                return dict(app.openapi())
            if any(hasattr(route, "dependant") for route in routes):  # a router that is mounted as it is
                from fastapi.openapi.utils import get_openapi

                return get_openapi(title="", version="", routes=app.routes)
    except Exception as error:
        raise FastbgError(
            f"the app has no OpenAPI document: {type(error).__name__}: {error}",
            where="app.openapi()",
            remedy="mend what it names; /openapi.json of the app fails by it as well",
        ) from error
    return {}


def _of_route(route: Any, prefix: str, kinds: Mapping[str, str], document: Mapping[str, Any]) -> Iterator[Operation]:
    dependant = getattr(route, "dependant", None)
    if dependant is None and not route.include_in_schema:
        return  # the document itself, and the pages that show it
    item = document.get("paths", {}).get(route.path_format, {})
    for method in _methods(route):
        told = dict(item.get(method.lower(), {}))
        told["parameters"] = [*item.get("parameters", []), *told.get("parameters", [])]
        codes = [int(code) for code in told.get("responses", {}) if re.fullmatch("2[0-9][0-9]", str(code))]
        yield Operation(
            method,
            prefix + route.path_format,
            None if dependant is None else _takes_tasks(dependant),
            next(iter(codes), getattr(route, "status_code", None)),
            told,
            document,
            kinds,
        )


def _methods(route: Any) -> list[str]:
    """The methods of a route that a script can ask for; HEAD only where there is no GET."""
    methods = route.methods
    if methods is None:  # an endpoint that is a class, or an ASGI app
        methods = {method for method in METHODS if hasattr(route.endpoint, method.lower())} or {"GET"}
    return [method for method in METHODS if method in methods and not (method == "HEAD" and "GET" in methods)]


def _takes_tasks(dependant: Any) -> bool:
    return bool(dependant.background_tasks_param_name) or any(map(_takes_tasks, dependant.dependencies))
