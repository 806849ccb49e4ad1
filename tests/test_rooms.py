"""The rooms of the package: imports go downwards only, as the page on the architecture says."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.servers import ROOT

PACKAGE = ROOT / "fastbg"
PAGE = PACKAGE / "docs" / "architecture.md"
MAX_LEAVES = 9


def rooms(page: str) -> list[list[str]]:
    """The table's first column from top to bottom: the names in one row are side by side."""
    rows = re.findall(r"^\| (`[^|]*?`) \|", page, re.MULTILINE)
    return [re.findall(r"`([\w.]+)/?`", row) for row in rows]


def modules(package: Path) -> Mapping[str, Path]:
    names = {path: path.relative_to(package.parent).with_suffix("").parts for path in package.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


def imports(path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    """Every module of the package that ``path`` imports, and the line: in functions and for types alone as well."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level, node.lineno


def room_of(module: str, order: list[list[str]]) -> str:
    """The room of a module, ``leaves`` for one beside the rooms."""
    named = {name.removesuffix(".py") for row in order for name in row}
    first = module.partition(".")[2].partition(".")[0]
    return first if first in named else "leaves"


def faults(package: Path, page: str) -> list[str]:
    """``FILE:LINE: …`` for each import that does not go downwards. The package itself, with public names, is above."""
    order, known = rooms(page), modules(package)
    level = {name.removesuffix(".py"): number for number, row in enumerate(order) for name in row}
    level["leaves"] = len(order)
    graph: dict[str, set[str]] = {}
    found = []
    for module, path in sorted(known.items()):
        for imported, line in imports(path, known):
            place = f"{path.relative_to(package.parent)}:{line}"
            if imported.startswith("."):
                found.append(f"{place}: a relative import")
            if imported.partition(".")[0] != package.name or module == package.name:
                continue
            above, below = room_of(module, order), room_of(imported, order)
            if above == below:
                graph.setdefault(module, set()).add(imported)
            elif level[above] >= level[below]:
                found.append(f"{place}: {above} imports {imported}, which is not below it")
    return found + [f"cycle: {' -> '.join(cycle)}" for cycle in cycles(graph)]


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """One list of modules for each cycle that is found on the way."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append([*way[way.index(module) :], module])
        elif module not in done:
            for imported in sorted(graph.get(module, ())):
                visit(imported, [*way, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def test_imports_go_downwards_only() -> None:
    assert faults(PACKAGE, PAGE.read_text("utf-8")) == []


def test_every_folder_is_a_room_and_every_room_a_folder() -> None:
    named = {name for row in rooms(PAGE.read_text("utf-8")) for name in row}
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert named == folders | {"__main__.py", "cli.py", "pytest_plugin.py"}


def test_page_names_every_module() -> None:
    page = PAGE.read_text("utf-8")
    for row in re.findall(r"^\| (?:`(\w+)/`|leaves) \| [^|]* \|(.*)\|$", page, re.MULTILINE):
        folder = PACKAGE / row[0]
        here = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__", "cli", "pytest_plugin"}
        assert set(re.findall(r"`(\w+)`", row[1])) == (set() if row[0] == "scripts" else here), folder


def test_few_modules_stand_beside_the_rooms() -> None:
    leaves = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "cli", "pytest_plugin"}
    assert len(leaves) <= MAX_LEAVES


PACKAGE_FILES = {
    "__init__.py": "",
    "leaf.py": "",
    "commands/__init__.py": "",
    "commands/demo.py": "import pkg.server.app",
    "server/__init__.py": "",
    "server/listener.py": "import pkg.server.app",
    "server/app.py": "import pkg.leaf",
}


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("leaf.py", "", None),
        (
            "server/app.py",
            "def f():\n    from pkg.commands import demo\n",
            "pkg/server/app.py:2: server imports pkg.commands.demo",
        ),
        ("leaf.py", "if TYPE_CHECKING:\n    import pkg.server.app\n", "pkg/leaf.py:2: leaves imports pkg.server.app"),
        (
            "server/app.py",
            "from pkg.server.listener import x\n",
            "cycle: pkg.server.app -> pkg.server.listener -> pkg.server.app",
        ),
        ("server/app.py", "from .listener import x\n", "pkg/server/app.py:1: a relative import"),
    ],
)
def test_wrong_import_is_found(module: str, text: str, fault: str | None, tmp_path: Path) -> None:
    for name, content in (PACKAGE_FILES | {module: text}).items():
        (tmp_path / "pkg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pkg" / name).write_text(content, encoding="utf-8")
    page = "| room | what |\n| --- | --- |\n| `commands/` | x |\n| `server/` | y |\n"
    found = faults(tmp_path / "pkg", page)
    assert [each[: len(fault or "")] for each in found] == ([fault] if fault else [])


def test_every_module_of_run_has_tests_named_for_it() -> None:
    modules = {path.stem for path in (PACKAGE / "run").glob("*.py")} - {"__init__"}
    assert modules <= {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "run").glob("test_*.py")}


def test_names_of_tests_are_short() -> None:
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    names = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert [name for name in names if name.startswith("test_") and len(name) > 60] == []
