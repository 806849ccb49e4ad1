"""Finds the syntax tree of a function, and what the names in it stand for. Calls no function of the app."""

import ast
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache, partial
from types import FunctionType, MethodType
from typing import Annotated, Any, ForwardRef, get_args, get_origin

from fastapi.params import Depends
from starlette.background import BackgroundTasks

from fastbg.scripting.source_code import parse
from fastbg.scripting.source_files import UNREADABLE, read_source

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def functions_of(called: object) -> Iterator[tuple[FunctionType, object]]:
    """Yield the Python functions that a call of ``called`` runs, and the object that each is bound to, or None.

    Decorated functions are followed along ``__wrapped__``. A class yields its ``__init__``, bound to nothing here; any
    other object yields its ``__call__``.
    """
    seen: set[int] = set()
    while called is not None and id(called) not in seen:
        seen.add(id(called))
        if isinstance(called, partial):
            called = called.func
            continue
        bound: object = None
        if isinstance(called, MethodType):
            bound, called = called.__self__, called.__func__
        wrapped = inspect.getattr_static(called, "__wrapped__", None)
        if isinstance(called, FunctionType):
            yield called, bound
        elif isinstance(called, type) and (function := method_of(called, "__init__")):
            yield function, None
        elif wrapped is None and (function := method_of(type(called), "__call__")):
            yield function, called
        called = wrapped


def method_of(owner: type, name: str) -> FunctionType | None:
    """Return the Python function ``name`` of a class, None if it is anything else."""
    found = next((vars(each)[name] for each in owner.__mro__ if name in vars(each)), None)
    function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    return function if isinstance(function, FunctionType) else None


def methods_of(owner: type, name: str, *, is_exact: bool) -> list[FunctionType]:
    """Return the Python functions that ``name`` may stand for in an object of ``owner``, or of a subclass.

    ``is_exact``: it is not an object of a subclass.
    """
    others = [] if is_exact else [each for each in subclasses(owner) if name in vars(each)]
    return [found for each in (owner, *others) if (found := method_of(each, name)) is not None]


def subclasses(owner: type) -> list[type]:
    """Return the classes that are derived from ``owner``, at any depth."""
    found: list[type] = [] if owner in (object, type) else type.__subclasses__(owner)
    return [*found, *(inner for each in found for inner in subclasses(each))]


def node_of(function: FunctionType) -> FunctionNode | None:
    """Return the syntax tree of ``function``, None if its source cannot be read."""
    code = function.__code__
    nodes = _nodes_in(code.co_filename).get(code.co_firstlineno, [])
    named = (node for node in nodes if getattr(node, "name", "<lambda>") == code.co_name)
    return next(named, None)


@cache
def _nodes_in(path: str) -> Mapping[int, list[FunctionNode]]:
    """Return the functions of a source file by their first line: that of the first decorator."""
    try:
        tree = parse(read_source(path))
    except UNREADABLE:
        return {}
    found: dict[int, list[FunctionNode]] = {}
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
            found.setdefault(min([node.lineno, *(each.lineno for each in decorators)]), []).append(node)
    return found


def is_stub(node: FunctionNode) -> bool:
    """Return whether a function only describes what others do, as in a `Protocol`."""
    if isinstance(node, ast.Lambda):
        return False
    return all(
        isinstance(each, ast.Pass | ast.Raise) or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        for each in node.body
    )


def in_order(node: FunctionNode) -> Iterator[ast.AST]:
    """Yield the nodes of the body in the order of the source."""
    waiting: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(reversed(node.body))
    while waiting:
        found = waiting.pop()
        yield found
        waiting.extend(reversed(list(ast.iter_child_nodes(found))))


def is_foreign(function: FunctionType, package: str) -> bool:
    """Return whether ``function`` is of Python or of an installed package other than ``package``."""
    own = str(function.__module__).partition(".")[0] == package
    return not own and function.__code__.co_filename.startswith((*_INSTALLED, "<frozen "))


def variable(function: FunctionType, name: str) -> tuple[object, ...]:
    """Return the object that ``name`` stands for outside of ``function``, or an empty tuple."""
    closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    try:
        if name in closure:
            return (closure[name].cell_contents,)
    except ValueError:  # not assigned yet
        return ()
    builtins = function.__globals__.get("__builtins__", {})
    names = builtins if isinstance(builtins, dict) else vars(builtins)
    for known in (function.__globals__, names):
        if name in known:
            return (known[name],)
    return ()


def annotations_of(annotated: FunctionType | type) -> Mapping[str, object]:
    """Return the annotations of a function or class: objects, and texts where names are missing or not looked up."""
    if sys.version_info >= (3, 14):  # it evaluates them now, and a name may be imported for type checkers alone
        import annotationlib

        return annotationlib.get_annotations(annotated, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(annotated)


def annotated_as(annotation: object, function: FunctionType | None) -> Iterator[object]:
    """Yield the classes and the `Depends` in an annotation, the `Depends` first.

    ``function``: whose names a text refers to, as all annotations after ``from __future__ import annotations``.
    """
    if isinstance(annotation, str):
        yield from _named_in(annotation, function)
    elif isinstance(annotation, ForwardRef):
        yield from _named_in(annotation.__forward_arg__, function)
    elif isinstance(annotation, Depends) or (isinstance(annotation, type) and not get_args(annotation)):
        yield annotation
    elif get_origin(annotation) is Annotated:
        first, *metadata = get_args(annotation)
        for part in (*metadata, first):
            yield from annotated_as(part, function) if not isinstance(part, str) or part is first else ()
    else:
        for part in get_args(annotation):
            yield from annotated_as(part, function)


def _named_in(text: str, function: FunctionType | None) -> Iterator[object]:
    """Yield what the names in the text of an annotation stand for: no code is run to find it."""
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.Name | ast.Attribute):
            found = _looked_up(node, function) if function is not None else ()
            if found:
                yield from annotated_as(found[0], None)
            elif ast.unparse(node).endswith(BackgroundTasks.__name__):  # imported for type checkers alone
                yield BackgroundTasks


def _looked_up(node: ast.expr, function: FunctionType) -> tuple[object, ...]:
    if isinstance(node, ast.Name):
        return variable(function, node.id)
    if isinstance(node, ast.Attribute) and (owner := _looked_up(node.value, function)):
        missing: Any = object()
        found = inspect.getattr_static(owner[0], node.attr, missing)
        return () if found is missing else (found,)
    return ()
