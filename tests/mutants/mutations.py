"""Makes the mutants of a module: its source with one small fault each. Pure."""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_OPERATORS: dict[type[ast.AST], tuple[bytes, bytes]] = {
    ast.Lt: (b"<", b"<="),
    ast.LtE: (b"<=", b"<"),
    ast.Gt: (b">", b">="),
    ast.GtE: (b">=", b">"),
    ast.Eq: (b"==", b"!="),
    ast.NotEq: (b"!=", b"=="),
    ast.Is: (b"is", b"is not"),
    ast.IsNot: (b"is not", b"is"),
    ast.In: (b"in", b"not in"),
    ast.NotIn: (b"not in", b"in"),
    ast.And: (b"and", b"or"),
    ast.Or: (b"or", b"and"),
    ast.Add: (b"+", b"-"),
    ast.Sub: (b"-", b"+"),
}
# Types have no effect at run time. Before Python 3.12 the positions in an f-string are wrong.
_SKIPPED_FIELDS = ("annotation", "returns", "decorator_list", "bases")
_SKIPPED_NODES = (ast.JoinedStr, ast.Import, ast.ImportFrom)
_DELETED = (ast.Assign, ast.AugAssign, ast.Expr, ast.Delete, ast.Raise, ast.Continue, ast.Break)

Edit = tuple[int, int, bytes]  # offset of the first and after the last byte that are replaced, and their replacement


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault in a module.

    ``module``: such as "evidence/trace". ``line``: number of the first line that differs. ``function``: the names of
    the class and the function around it, "" outside of them. ``before``, ``after``: the lines that differ, joined to
    one. ``source``: the whole module with the fault.
    """

    module: str
    line: int
    function: str
    before: str
    after: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies the mutant when other lines of the module change."""
        return self.module, self.function, self.before, self.after


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of their lines."""
    found: dict[str, Mutant] = {}  # by source: two rules may make the same fault
    for function, edits in _faults(ast.parse(source), "", _Source(source)):
        data = source.encode()
        for begin, end, text in reversed(edits):
            data = data[:begin] + text + data[end:]
        mutated = data.decode()
        if mutated != source and mutated not in found and _compiles(mutated):
            found[mutated] = Mutant(module, *_difference(source, mutated, function), mutated)
    return sorted(found.values(), key=lambda mutant: mutant.line)


def choose(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Choose ``count`` mutants. A change in one line of the module does not change the choice among the others."""
    equal: Counter[tuple[str, ...]] = Counter()
    ranks = []
    for mutant in mutants:
        equal[mutant.key] += 1
        ranks.append(hashlib.sha256(repr((seed, equal[mutant.key], *mutant.key)).encode()).digest())
    chosen = set(sorted(ranks)[:count])
    return [mutant for mutant, rank in zip(mutants, ranks, strict=True) if rank in chosen]


class _Source:
    """Finds the offsets of syntax nodes, in bytes."""

    def __init__(self, source: str) -> None:
        self.data = source.encode()
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def begin(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)

    def replace(self, node: ast.expr | ast.stmt, text: str) -> list[Edit]:
        return [(self.begin(node), self.end(node), text.encode())]

    def swap(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> list[Edit]:
        """Replace the operator between two operands."""
        old, new = _OPERATORS[type(operator)]
        at = self.data.index(old, self.end(left), self.begin(right))
        return [(at, at + len(old), new)]


def _faults(node: ast.AST, function: str, source: _Source) -> Iterator[tuple[str, list[Edit]]]:
    """Yield each fault below ``node``, with the name of the function that it is in."""
    for name, value in ast.iter_fields(node):
        if name in _SKIPPED_FIELDS:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, _SKIPPED_NODES) or _has_no_effect(child):
                continue
            inner = function
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inner = f"{function}.{child.name}".lstrip(".")
            for edits in _faults_at(child, source):
                yield inner, edits
            if isinstance(child, _DELETED) and function and not isinstance(node, ast.ClassDef):
                yield inner, source.replace(child, "pass")
            yield from _faults(child, inner, source)


def _has_no_effect(node: ast.AST) -> bool:
    """Return whether this is a docstring, or a type such as ``Literal["a"]``."""
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or (isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal")


def _faults_at(node: ast.AST, source: _Source) -> Iterator[list[Edit]]:
    match node:
        case ast.Compare():
            for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                yield source.swap(left, operator, right)
        case ast.BoolOp():
            pairs = zip(node.values, node.values[1:], strict=False)
            yield [edit for left, right in pairs for edit in source.swap(left, node.op, right)]
        case ast.UnaryOp(op=ast.Not()):
            yield [(source.begin(node), source.begin(node.operand), b"")]
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            yield source.swap(node.left, node.op, node.right)
        case ast.AugAssign(op=ast.Add() | ast.Sub()):
            yield source.swap(node.target, node.op, node.value)
        case ast.If() | ast.IfExp():
            yield source.replace(node.test, "True")
            yield source.replace(node.test, "False")
        case ast.While():
            yield source.replace(node.test, "False")
        case ast.comprehension():
            for condition in node.ifs:
                yield source.replace(condition, "True")
                yield source.replace(condition, "False")
        case ast.Return(value=ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not())):
            yield source.replace(node, "return True")
            yield source.replace(node, "return False")
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield source.replace(node, "return None")
        case ast.Constant():
            if (other := _other(node.value)) is not None:
                yield source.replace(node, repr(other))


def _other(value: object) -> object:
    """Return another constant of the same type, None if there is none."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return "" if value else "?"
        case bytes():
            return b"" if value else b"?"
    return None


def _compiles(source: str) -> bool:
    try:
        compile(source, "", "exec")
    except SyntaxError:
        return False
    return True


def _difference(source: str, mutated: str, function: str) -> tuple[int, str, str, str]:
    """Return the number of the first line that differs, the function, and the lines that differ in both."""
    old, new = source.splitlines(), mutated.splitlines()
    first = next(at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other)
    same = next(at for at, (one, other) in enumerate(zip(old[::-1], new[::-1], strict=False)) if one != other)
    before, after = (" ".join(line.strip() for line in lines[first : len(lines) - same]) for lines in (old, new))
    return first + 1, function, before, after
