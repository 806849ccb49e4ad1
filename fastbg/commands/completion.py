"""Values for the completion of a shell: names of scripts, of apps, and topics.

It imports neither the user's code nor large packages, because a shell waits for it after each Tab.
"""

import ast
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout, suppress
from io import StringIO
from itertools import islice
from pathlib import Path
from shlex import quote

FRAMEWORKS = ("FastAPI", "Starlette")
APPS = ("app", "application")
FACTORIES = ("create_app", "get_app", "make_app")
MIN_DEPTH = 2  # folders to look into: app/main.py is common
MAX_FILES = 200  # modules to read; parsing one takes milliseconds

_HINT = re.compile(rf"^(?:{'|'.join(APPS)})\b|\b(?:{'|'.join(FRAMEWORKS + FACTORIES)})\b".encode(), re.MULTILINE)


def scripts(incomplete: str) -> list[str]:
    """Return the built-in scripts and the .toml files of the current folder. The shell completes other paths."""
    from fastbg.scripting.builtin import ALL, built_in

    return _matching(incomplete, [ALL, *built_in(), *(path.name for path in sorted(Path.cwd().glob("*.toml")))])


def topics(incomplete: str) -> list[str]:
    """Return the pages of the documentation; if a word has been begun, also the words that they explain."""
    from fastbg.commands.explain import names, read_pages

    pages = read_pages()
    return _matching(incomplete, names(pages) if incomplete else pages)


def apps(incomplete: str) -> list[str]:
    """Return ``module:attribute`` of the apps in the current folder, as their source names them."""
    module = incomplete.partition(":")[0]
    modules = islice(_modules(module), MAX_FILES)
    return _matching(incomplete, (f"{name}:{attribute}" for name, path in modules for attribute in _attributes(path)))


def complete_in_bash(command: Callable[[], object]) -> None:
    """Run ``command``, which completes a word for bash, so that words may have a colon: ``shop:app``.

    Bash splits words at ``:`` and ``=``, unless told otherwise, and replaces only what is after the last of them.
    """
    words = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
    joined = re.sub(r"\n([:=])\n?", r"\1", "\n".join(words))
    os.environ |= {"COMP_WORDS": joined, "COMP_CWORD": str(joined.count("\n"))}
    replaced = words[-1] if words[-1] not in (":", "=") else ""
    kept = joined.rpartition("\n")[2].removesuffix(replaced).rpartition("=")[2]
    output = StringIO()
    try:
        with redirect_stdout(output):
            command()
    finally:
        sys.stdout.writelines(f"{line.removeprefix(kept)}\n" for line in output.getvalue().splitlines())


def _matching(incomplete: str, values: Iterable[str]) -> list[str]:
    """Return each value once, without those that a shell would have to quote."""
    return [each for each in dict.fromkeys(values) if each.startswith(incomplete) and quote(each) == each]


def _modules(incomplete: str) -> Iterator[tuple[str, Path]]:
    """Yield the modules below the current folder whose names begin with ``incomplete``, those nearest to it first."""
    folder = Path.cwd()
    for depth in range(max(MIN_DEPTH, incomplete.count(".") + 1)):
        for path in sorted(folder.glob("*/" * depth + "*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if name.startswith(incomplete) and all(part.isidentifier() for part in parts):
                yield name, path


def _attributes(path: Path) -> Iterator[str]:
    """Yield the names in a module that are probably an app, or a function that makes one."""
    for node in _statements(path):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            made = isinstance(node.value, ast.Call) and _last_name(node.value.func) in FRAMEWORKS
            yield from (each.id for each in targets if isinstance(each, ast.Name) and (made or each.id in APPS))
        elif isinstance(node, ast.FunctionDef) and (node.name in FACTORIES or _last_name(node.returns) in FRAMEWORKS):
            yield node.name


def _statements(path: Path) -> list[ast.stmt]:
    """Return the statements of a module that may contain an app, else none."""
    with suppress(OSError, SyntaxError, ValueError, RecursionError, MemoryError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the user's code
        source = path.read_bytes()
        return ast.parse(source).body if _HINT.search(source) else []
    return []


def _last_name(node: ast.expr | None) -> str | None:
    """Return ``FastAPI`` for ``FastAPI`` and for ``fastapi.FastAPI``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None
