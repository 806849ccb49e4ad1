"""Finds what a script marks in the source code of an app: whole functions and classes, and single lines. Pure."""

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import resolve_name

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Mark:
    """An entry of the key `code` of a part. ``lines``: the numbers of its lines, from 1; none if it was not found."""

    part: str
    entry: str
    lines: frozenset[int]


@dataclass(frozen=True, slots=True)
class SourceCode:
    """A source file with marked lines. ``statements``: the lines of each statement at the top level, decorators too."""

    path: str
    lines: tuple[str, ...]
    statements: tuple[range, ...]
    marks: tuple[Mark, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts with marked lines."""
        return tuple(dict.fromkeys(mark.part for mark in self.marks if mark.lines))

    def only(self, part: str) -> "SourceCode":
        """Return the file with the marks of ``part`` alone."""
        return replace(self, marks=tuple(mark for mark in self.marks if mark.part == part))

    def parts_of(self, number: int) -> tuple[str, ...]:
        """Return the names of the parts that mark this line."""
        return tuple(dict.fromkeys(mark.part for mark in self.marks if number in mark.lines))

    def excerpt(self, part: str) -> Sequence[int]:
        """Return the lines of all statements with a mark of ``part``; all lines if there is none."""
        marked = frozenset[int]().union(*(mark.lines for mark in self.marks if mark.part == part))
        shown = {number for lines in self.statements if not marked.isdisjoint(lines) for number in lines}
        return sorted(shown | marked) or range(1, len(self.lines) + 1)


def source_code(path: str, text: str, entries: Sequence[tuple[str, str]]) -> SourceCode:
    """Find ``entries`` (part, entry) in a source file. Code that is not valid Python has no functions and classes."""
    lines = tuple(text.removesuffix("\n").split("\n"))
    tree = parse(text)
    definitions = list(_definitions(tree))
    marks = [Mark(part, entry, _marked_lines(entry, lines, definitions)) for part, entry in entries]
    return SourceCode(path, lines, tuple(map(_lines_of, tree.body)), tuple(marks))


def imported_from(text: str, attribute: str, package: str) -> str | None:
    """Return the module from which the code of a module in ``package`` imports ``attribute`` by the same name."""
    for node in parse(text).body:
        if isinstance(node, ast.ImportFrom) and any((each.asname or each.name) == attribute for each in node.names):
            try:
                return resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # a relative import in a module without a package
                return None
    return None


def parse(text: str) -> ast.Module:
    """Return the syntax tree of ``text``, an empty one if it is not valid Python."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _definitions(tree: ast.Module) -> Iterator[tuple[str, range]]:
    """Yield the dotted name and the lines of each function and class. No recursion: a long `elif` chain is deep."""
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, prefix = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _Definition):
                yield prefix + child.name, _lines_of(child)
                waiting.append((child, f"{prefix}{child.name}."))
            elif not isinstance(child, ast.expr):
                waiting.append((child, prefix))


def _lines_of(node: ast.stmt) -> range:
    decorators = node.decorator_list if isinstance(node, _Definition) else []
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return range(first, (node.end_lineno or node.lineno) + 1)


def _marked_lines(entry: str, lines: Sequence[str], definitions: Sequence[tuple[str, range]]) -> frozenset[int]:
    defined = [number for name, numbers in definitions if name == entry for number in numbers]
    return frozenset(defined or (number for number, line in enumerate(lines, 1) if entry in line))
