"""Finds the line of source code that queues a background task for an operation of an app. Calls no code of the app.

The search begins at the endpoint and its dependencies, and follows their calls: through decorators, into functions and
methods of the user's own code, and wherever a `BackgroundTasks` is passed.
"""

import ast
import inspect
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, Literal

from starlette.background import BackgroundTask, BackgroundTasks
from starlette.responses import Response

from fastbg.scripting.code_values import (
    Arguments,
    Instance,
    Known,
    Scope,
    Value,
    Values,
    called_functions,
    identity,
    is_tasks,
)
from fastbg.scripting.functions import functions_of, in_order, is_foreign, is_stub, node_of
from fastbg.scripting.routes import Operation

MAX_FUNCTIONS = 500  # that are searched for one operation
MAX_TEXT = 80  # characters

_BACKGROUND = re.compile(r"background|\bbg_?tasks?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A line of source code. ``path``: absolute. ``text``: the expression or the signature. ``what``: it does."""

    path: str
    number: int
    text: str
    what: Literal["adds tasks", "takes BackgroundTasks"] = "adds tasks"


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """A call of a function. ``owner``: the object that it is bound to, or None. ``given``: its arguments by name.

    ``line``: the line of the user's code, if the function is of an installed package: it says more than one there.
    """

    function: FunctionType
    owner: Value
    given: Arguments
    line: CodeLine | None = None

    @property
    def key(self) -> object:
        given = frozenset((name, identity(value)) for name, value in self.given.items())
        return self.function, identity(self.owner), given


class QueueingCode:
    """The source code of an app, and of what its operations call. Each function is read once."""

    def __init__(self) -> None:
        self._packages: dict[str, _Package] = {}

    def line(self, operation: Operation) -> CodeLine | None:
        """Return the line that queues a task for ``operation``, None if it is not known to queue one.

        If there is no such line, the signature of an endpoint that takes `BackgroundTasks` itself is enough.
        """
        endpoint = operation.called
        if inspect.isclass(endpoint) and operation.dependant is None:  # Starlette's HTTPEndpoint
            endpoint = inspect.getattr_static(endpoint, operation.method.lower(), None)
        name = str(getattr(endpoint, "__module__", "")).partition(".")[0]
        package = self._packages.setdefault(name, _Package(name))
        return package.line(endpoint, operation.dependant) or _signature(endpoint, operation.dependant)


class _Package:
    """What is known of the code that the endpoints of one top-level package call."""

    def __init__(self, name: str) -> None:
        self._values = Values(name)
        self._steps: dict[object, Sequence[CodeLine | _Call]] = {}

    def line(self, endpoint: object, dependant: Any) -> CodeLine | None:
        """Search the endpoint, then its dependencies, then what these call: the shortest way comes first."""
        waiting = deque(self._calls(endpoint, dependant))
        for dependency in _dependencies(dependant):
            waiting.extend(self._calls(dependency.call, dependency))
        seen: set[object] = set()
        while waiting and len(seen) < MAX_FUNCTIONS:
            call = waiting.popleft()
            if (key := call.key) in seen:
                continue
            seen.add(key)
            if key not in self._steps:
                self._steps[key] = list(self._read(call))
            for step in self._steps[key]:
                if isinstance(step, CodeLine):
                    return call.line or step
                waiting.append(replace(step, line=call.line or step.line))
        return None

    def _calls(self, called: object, dependant: Any) -> Iterator[_Call]:
        """Yield the functions that FastAPI calls, with the values of their dependencies."""
        inner = getattr(dependant, "dependencies", ())
        given = {each.name: self._values.result(Known(each.call)) for each in inner if each.name}
        if name := getattr(dependant, "background_tasks_param_name", None):
            given[name] = Instance(BackgroundTasks)
        for function, owner in called_functions(Known(called)):
            yield _Call(function, owner, given)

    def _read(self, call: _Call) -> Iterator[CodeLine | _Call]:
        """Yield the lines of a function that queue a task, and its calls."""
        if self._is_foreign(call.function) and not any(map(is_tasks, call.given.values())):
            return
        node = node_of(call.function)
        if node is None:
            return
        scope = Scope(self._values, call.function, node, call.owner, call.given)
        for inner in in_order(node):
            if isinstance(inner, ast.expr | ast.stmt) and _queues(inner, scope):
                yield _line(call.function, inner)
            elif isinstance(inner, ast.Call):
                yield from self._called(inner, call.function, scope)

    def _called(self, node: ast.Call, function: FunctionType, scope: Scope) -> Iterator[CodeLine | _Call]:
        called = scope.value(node.func)
        functions = called_functions(called)
        given = [*node.args, *(each.value for each in node.keywords)]
        if any(is_tasks(scope.value(each)) for each in given) and _is_unknown(called, functions):
            yield _line(function, node)
        for inner, owner in functions:
            arguments = scope.arguments(node, inner, is_bound=owner is not None)
            leaves = self._is_foreign(inner) and not self._is_foreign(function)
            yield _Call(inner, owner, arguments, _line(function, node) if leaves else None)

    def _is_foreign(self, function: FunctionType) -> bool:
        return is_foreign(function, self._values.package)


def _is_unknown(called: Value, functions: list[tuple[FunctionType, Value]]) -> bool:
    """Return whether nobody knows what a call does with the `BackgroundTasks` that it gets."""
    nodes = [node_of(function) for function, _ in functions]
    return not isinstance(called, Known) and all(node is None or is_stub(node) for node in nodes)


def _queues(node: ast.expr | ast.stmt, scope: Scope) -> bool:
    """Return whether this expression or statement queues a task, or gives one to a response."""
    match node:
        case ast.Call(func=ast.Attribute(attr="add_task") as inner):
            return _queues(inner, scope)
        case ast.Attribute(value=owner, attr="add_task"):
            value = scope.value(owner)
            return is_tasks(value) if value is not None else _BACKGROUND.search(ast.unparse(owner)) is not None
        case ast.Assign(targets=[ast.Attribute(attr="background")], value=value):
            return _is_task(value, scope)
        case ast.Call(func=made, keywords=keywords):
            called = scope.value(made)
            if not (isinstance(called, Known) and isinstance(called.value, type)):
                return False
            if issubclass(called.value, BackgroundTask):
                return not issubclass(called.value, BackgroundTasks)  # it is still empty
            given = [each.value for each in keywords if each.arg == "background"]
            return issubclass(called.value, Response) and any(_is_task(each, scope) for each in given)
    return False


def _is_task(node: ast.expr, scope: Scope) -> bool:
    """Return whether the ``background`` of a response is a task. What is in a `BackgroundTasks` was added elsewhere."""
    return not (isinstance(node, ast.Constant) and node.value is None) and not is_tasks(scope.value(node))


def _line(function: FunctionType, node: ast.expr | ast.stmt) -> CodeLine:
    text = ast.unparse(node)
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return CodeLine(function.__code__.co_filename, node.lineno, cut)


def _signature(endpoint: object, dependant: Any) -> CodeLine | None:
    """Return the line of an endpoint that takes `BackgroundTasks` itself."""
    name = getattr(dependant, "background_tasks_param_name", None)
    functions = list(functions_of(endpoint)) if name else []
    for function, _ in functions[-1:]:  # the inmost of its decorators
        code = function.__code__
        text = f"{function.__name__}({name}: BackgroundTasks)"
        return CodeLine(code.co_filename, code.co_firstlineno, text, "takes BackgroundTasks")
    return None


def _dependencies(dependant: Any) -> Iterator[Any]:
    """Yield the dependencies at any depth, the outer ones first."""
    inner = list(getattr(dependant, "dependencies", ()))
    yield from inner
    for each in inner:
        yield from _dependencies(each)
