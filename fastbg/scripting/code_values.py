"""What is known of the values in source code: their classes, or the objects themselves. Calls no code of the app.

It follows from annotations, from ``Depends``, from what is assigned, and from what the user's own functions return.
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import FunctionType, ModuleType
from typing import Any

from fastapi.params import Depends
from pydantic.fields import FieldInfo
from starlette.background import BackgroundTasks

from fastbg.scripting.functions import (
    FunctionNode,
    annotated_as,
    annotations_of,
    functions_of,
    in_order,
    is_foreign,
    method_of,
    methods_of,
    node_of,
    variable,
)

MAX_DEPTH = 30  # values that follow from other values

_MISSING = object()


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A value that exists while no request is served: a function, a class, a module, an object of a module."""

    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """A value that a request makes: an object of the class ``of``. ``arguments``: of its class, by name.

    ``exact``: it is not an object of a subclass.
    """

    of: type
    arguments: "Mapping[str, Value]" = field(default_factory=dict)
    exact: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method of the object ``owner``: the ``functions`` that a call may run, several if subclasses override it."""

    functions: tuple[FunctionType, ...]
    owner: Known | Instance


Value = Known | Instance | Method | None
Arguments = Mapping[str, Value]


def is_tasks(value: Value) -> bool:
    of = class_of(value)
    return of is not None and issubclass(of, BackgroundTasks)


def class_of(value: Value) -> type | None:
    """Return the class of an object that is neither a class nor a method."""
    match value:
        case Instance(of=of):
            return of
        case Known(value=known) if not isinstance(known, type):
            return type(known)
    return None


def identity(value: Value) -> object:
    """Return a key: equal keys stand for values of which the same is known."""
    match value:
        case Known(value=known):
            return id(known)
        case Instance(of=of, arguments=arguments, exact=exact):
            return of, exact, identities(arguments)
        case Method(functions=functions, owner=owner):
            return functions, identity(owner)
    return None


def identities(values: Arguments) -> frozenset[tuple[str, object]]:
    """Return the key of several values. An object in an object counts only if it is a `BackgroundTasks`."""
    return frozenset((name, is_tasks(value)) for name, value in values.items())


def first(values: Iterable[Value]) -> Value:
    """Return the first value of which something is known."""
    return next((value for value in values if value is not None), None)


def called_functions(called: Value) -> list[tuple[FunctionType, Value]]:
    """Return the functions that a call may run, each with the object that it is bound to, or None."""
    match called:
        case Method(functions=functions, owner=owner):
            return [(inner, owner) for each in functions for inner, _ in functions_of(each)]
        case Instance(of=of, exact=exact):
            return [(each, called) for each in methods_of(of, "__call__", is_exact=exact)]
        case Known(value=type() as made):
            return [(each, Instance(made, exact=True)) for each, _ in functions_of(made)]
        case Known(value=known):
            return [(each, None if to is None else Known(to)) for each, to in functions_of(known)]
    return []


class Values:
    """Derives values. ``package``: the top-level package of the user's code, even if it is installed."""

    def __init__(self, package: str) -> None:
        self.package = package
        self._depth = 0
        self._known: dict[tuple[object, ...], Value] = {}

    def result(self, called: Value) -> Value:
        """Return the value that a call returns, or a generator yields first."""
        if isinstance(called, Known) and isinstance(called.value, type):
            return Instance(called.value, exact=True)
        for function, owner in called_functions(called):
            if found := self._once((function, class_of(owner)), lambda: self._returned(function, owner)):  # noqa: B023
                return found
        return None

    def annotated(self, annotation: object, function: FunctionType | None) -> Value:
        """Return the value that an annotation of ``function`` describes: `BackgroundTasks` before any other class."""
        found = list(annotated_as(annotation, function))
        depends = [self.result(Known(each.dependency)) for each in found if isinstance(each, Depends)]
        values = [*depends, *(Instance(each) for each in found if isinstance(each, type) and each is not type(None))]
        return next(filter(is_tasks, values), first(values))

    def attribute(self, owner: Known | Instance, name: str) -> Value:
        """Return what is known of an attribute of an object: a method, or what its class declares or assigns."""
        of = owner.of if isinstance(owner, Instance) else type(owner.value)
        found = inspect.getattr_static(of, name, None)
        if isinstance(found, staticmethod):
            return Known(found.__func__)
        is_exact = isinstance(owner, Known) or owner.exact
        if functions := methods_of(of, name, is_exact=is_exact):
            return Method(tuple(functions), owner)
        getter = (
            found.func if isinstance(found, cached_property) else found.fget if isinstance(found, property) else None
        )
        if isinstance(getter, FunctionType):
            return self.result(Method((getter,), owner))
        arguments = owner.arguments if isinstance(owner, Instance) else {}
        with_tasks = frozenset(name for name, value in arguments.items() if is_tasks(value))
        return self._once((of, name, with_tasks), lambda: self._assigned(of, name, arguments))

    def _once(self, key: tuple[object, ...], find: Callable[[], Value]) -> Value:
        """Return what ``find`` returns, None while it is looking for itself."""
        if key not in self._known and self._depth < MAX_DEPTH:
            self._known[key] = None
            self._depth += 1
            self._known[key] = find()
            self._depth -= 1
        return self._known.get(key)

    def _returned(self, function: FunctionType, owner: Value) -> Value:
        node = None if is_foreign(function, self.package) else node_of(function)
        if node is not None:
            scope = Scope(self, function, node, owner, {})
            if found := first(map(scope.value, _results(node))):
                return found
        return self.annotated(annotations_of(function).get("return"), function)

    def _assigned(self, of: type, name: str, arguments: Arguments) -> Value:
        if found := arguments.get(name):  # a dataclass
            return found
        for each in of.__mro__:
            functions = [method for method in vars(each).values() if isinstance(method, FunctionType)]
            if found := self.annotated(annotations_of(each).get(name), next(iter(functions), None)):
                return found
            for function in functions:
                node = None if is_foreign(function, self.package) else node_of(function)
                assigned = [] if node is None else list(_assigned_to(node, name))
                if node is not None and assigned:
                    given = arguments if function.__name__ == "__init__" else {}
                    scope = Scope(self, function, node, Instance(of), given)
                    if found := first(map(scope.value, assigned)):
                        return found
        return None


class Scope:
    """What the names in one call of a function stand for.

    ``owner``: the object that the function is bound to, or None. ``given``: the arguments of the call, by name.
    """

    def __init__(
        self, values: Values, function: FunctionType, node: FunctionNode, owner: Value, given: Arguments
    ) -> None:
        self._values = values
        self._function = function
        code = function.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        defaults = inspect.signature(function, follow_wrapped=False).parameters
        self._names = {name: given.get(name) or self._parameter(name, defaults[name].default) for name in names}
        self._owner = owner
        if owner is not None and names:
            self._names[names[0]] = owner
        self._assign(node)

    def value(self, node: ast.expr) -> Value:
        """Return what is known of an expression."""
        match node:
            case ast.Name(id=name):
                if name in self._names:
                    return self._names[name]
                found = variable(self._function, name)
                return Known(found[0]) if found else None
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super"), args=[]), attr=name):
                return self._inherited(name)
            case ast.Attribute(value=inner, attr=name):
                return self._attribute(self.value(inner), name)
            case ast.Call(func=inner):
                called = self.value(inner)
                if isinstance(called, Known) and isinstance(called.value, type):
                    return Instance(called.value, self._to_class(node, called.value), exact=True)
                return self._values.result(called)
            case ast.Await(value=inner) | ast.NamedExpr(value=inner):
                return self.value(inner)
            case ast.IfExp(body=body, orelse=orelse):
                return first(map(self.value, (body, orelse)))
            case ast.BoolOp(values=parts):
                return first(map(self.value, parts))
        return None

    def arguments(self, node: ast.Call, function: FunctionType, *, is_bound: bool) -> Arguments:
        """Return the arguments of a call by the names of the parameters of ``function``."""
        code = function.__code__
        names = code.co_varnames[int(is_bound) : code.co_argcount]
        positional = [None if isinstance(each, ast.Starred) else self.value(each) for each in node.args]
        by_name = {each.arg: self.value(each.value) for each in node.keywords if each.arg is not None}
        return dict(zip(names, positional, strict=False)) | by_name

    def _to_class(self, node: ast.Call, made: type) -> Arguments:
        function = method_of(made, "__init__")
        return {} if function is None else self.arguments(node, function, is_bound=True)

    def _parameter(self, name: str, default: object) -> Value:
        if isinstance(default, Depends) and default.dependency is not None:
            return self._values.result(Known(default.dependency))
        if found := self._values.annotated(annotations_of(self._function).get(name), self._function):
            return found
        says_nothing = default is None or default is inspect.Parameter.empty or isinstance(default, FieldInfo | Depends)
        return None if says_nothing else Known(default)

    def _assign(self, node: FunctionNode) -> None:
        """Add the local variables, and the parameters of functions inside."""
        for inner in in_order(node):
            pairs: list[tuple[ast.expr | None, ast.expr | None]] = []
            match inner:
                case ast.Assign(targets=targets, value=value):
                    pairs = [(target, value) for target in targets]
                case ast.AnnAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                    pairs = [(target, value)]
                case ast.withitem(optional_vars=target, context_expr=value):
                    pairs = [(target, value)]
                case ast.arg(arg=name, annotation=ast.expr() as annotation):
                    self._names.setdefault(name, self._values.annotated(ast.unparse(annotation), self._function))
            for target, value in pairs:
                if isinstance(target, ast.Name):
                    self._names[target.id] = (value and self.value(value)) or self._names.get(target.id)

    def _attribute(self, owner: Value, name: str) -> Value:
        if isinstance(owner, Known):
            found = inspect.getattr_static(owner.value, name, _MISSING)
            if isinstance(owner.value, type | ModuleType):
                if isinstance(found, classmethod) and isinstance(found.__func__, FunctionType):
                    return Method((found.__func__,), owner)
                function = found.__func__ if isinstance(found, staticmethod) else found
                return None if found is _MISSING else Known(function)
            if found is not _MISSING and name in getattr(owner.value, "__dict__", {}):
                return Known(found)
        return self._values.attribute(owner, name) if isinstance(owner, Known | Instance) else None

    def _inherited(self, name: str) -> Value:
        """Return the method ``name`` of ``super()``."""
        of, here = class_of(self._owner), variable(self._function, "__class__")
        if of is None or not here or here[0] not in of.__mro__ or not isinstance(self._owner, Known | Instance):
            return None
        others = of.__mro__[of.__mro__.index(here[0]) + 1 :]
        found = next((vars(each)[name] for each in others if name in vars(each)), None)
        return Method((found,), self._owner) if isinstance(found, FunctionType) else Known(found)


def _results(node: FunctionNode) -> Iterator[ast.expr]:
    if isinstance(node, ast.Lambda):
        yield node.body
        return
    for each in in_order(node):
        if isinstance(each, ast.Return | ast.Yield) and each.value is not None:
            yield each.value


def _assigned_to(node: FunctionNode, attribute: str) -> Iterator[ast.expr]:
    """Yield what a method assigns to an attribute of an object."""
    for each in in_order(node):
        match each:
            case ast.Assign(targets=targets, value=value) if any(_is_of(target, attribute) for target in targets):
                yield value
            case ast.AnnAssign(target=target, value=ast.expr() as value) if _is_of(target, attribute):
                yield value


def _is_of(target: ast.expr, attribute: str) -> bool:
    return isinstance(target, ast.Attribute) and target.attr == attribute
