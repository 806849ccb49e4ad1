"""The module that Python imports at its start under `fastbg run`, or through a ``.pth`` file."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastbg.attach.environment import SITE
from fastbg.commands.run import pth_line
from tests.support.processes import environment
from tests.support.servers import ROOT

FILE = SITE / "sitecustomize.py"
LOADED = (
    "sorted(name for name in sys.modules if name.partition('.')[0] in ('fastbg', 'starlette', 'typing', 'inspect'))"
)


def python(code: str, *, cwd: Path, options: tuple[str, ...] = (), **variables: str) -> str:
    """Run Python as in a command of `fastbg run`, and return what it prints."""
    variables = {"FASTBG_RECORD": "1", "PYTHONPATH": str(SITE), "FASTBG_DIR": str(cwd / "data")} | variables
    command = [sys.executable, *options, "-c", code]
    result = subprocess.run(command, cwd=cwd, env=environment(**variables), capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout


def attached(name: str) -> str:
    """Return code that prints how often a function of uvicorn is wrapped."""
    return f"""
import {name}
from uvicorn.config import Config
load, times = Config.load, 0
while hasattr(load, "__wrapped__"):
    load, times = load.__wrapped__, times + 1
print(times)
"""


def test_a_process_that_serves_nothing_imports_nothing(tmp_path: Path) -> None:
    assert python(f"import sys; print({LOADED})", cwd=tmp_path) == "[]\n"


def test_nothing_is_attached_without_the_variable(tmp_path: Path) -> None:
    for value in ("", "0"):
        assert python(attached("uvicorn"), cwd=tmp_path, FASTBG_RECORD=value) == "0\n"
    assert python(attached("uvicorn"), cwd=tmp_path) == "1\n"


def test_the_environment_of_the_app_needs_no_fastbg(tmp_path: Path) -> None:
    code = f"import sys; sys.path = [path for path in sys.path if path != {str(ROOT)!r}]" + attached("uvicorn")
    code += "import fastbg.attach.record; print(fastbg.__file__)"
    assert python(code, cwd=tmp_path) == f"1\n{ROOT / 'fastbg' / '__init__.py'}\n"


def test_the_sitecustomize_of_the_user_is_imported_too(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('mine'); OWN = True\n", encoding="utf-8")
    code = "import sitecustomize; print(sitecustomize.OWN)" + attached("uvicorn")
    assert python(code, cwd=tmp_path, PYTHONPATH=f"{SITE}:{tmp_path}") == "mine\nTrue\n1\n"


def test_pth_file_attaches_once_without_pythonpath(tmp_path: Path) -> None:
    line = pth_line()
    (tmp_path / "fastbg.pth").write_text(f"{line}\n{line}\n", encoding="utf-8")
    code = f"import site; site.addsitedir({str(tmp_path)!r})" + attached("uvicorn")
    assert python(code, cwd=tmp_path, PYTHONPATH="") == "1\n"
    assert python(code, cwd=tmp_path, PYTHONPATH=str(SITE)) == "1\n"
    assert python(code, cwd=tmp_path, PYTHONPATH="", FASTBG_RECORD="0") == "0\n"


def test_a_server_that_is_already_imported_is_attached(tmp_path: Path) -> None:
    (tmp_path / "fastbg.pth").write_text(pth_line(), encoding="utf-8")
    code = f"import uvicorn, site; site.addsitedir({str(tmp_path)!r})" + attached("uvicorn")
    assert python(code, cwd=tmp_path, PYTHONPATH="") == "1\n"


def test_other_import_hooks_work_in_both_orders(tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text(HOOK, encoding="utf-8")
    first = f"import sys; sys.path.append({str(tmp_path)!r}); import hook" + attached("uvicorn")
    assert python(first, cwd=tmp_path) == "executed uvicorn.config\n1\n"
    (tmp_path / "fastbg.pth").write_text(pth_line(), encoding="utf-8")
    later = f"import sys, site; sys.path.append({str(tmp_path)!r}); import hook; site.addsitedir({str(tmp_path)!r})"
    assert python(later + attached("uvicorn"), cwd=tmp_path, PYTHONPATH="") == "executed uvicorn.config\n1\n"


HOOK = """
# An import hook as wrapt and ddtrace have it: it asks all finders again, and wraps the loader.
import sys
from importlib.util import find_spec


class Loader:
    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        print("executed", module.__name__)


class Finder:
    searching = False

    def find_spec(self, name, path=None, target=None):
        if name != "uvicorn.config" or self.searching:
            return None
        self.searching = True
        try:
            spec = find_spec(name)
        finally:
            self.searching = False
        spec.loader = Loader(spec.loader)
        return spec


sys.meta_path.insert(0, Finder())
"""


def test_it_can_be_compiled_by_old_versions_of_python() -> None:
    ast.parse(FILE.read_text("utf-8"), feature_version=(3, 7))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the module, which has installed nothing."""
    monkeypatch.delenv("FASTBG_RECORD", raising=False)
    return runpy.run_path(str(FILE))


def test_an_old_python_is_named_and_not_attached(
    site: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = site["_attach"]
    monkeypatch.setitem(attach.__globals__, "MIN_PYTHON", (99, 1))
    attach(ModuleType("uvicorn.config"))
    assert "is not recorded: fastbg needs Python 99.1 or later" in capsys.readouterr().err


def test_an_unknown_version_of_a_server_is_named(site: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for name in site["SERVERS"]:
        site["_attach"](ModuleType(name))
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == len(site["SERVERS"])
    assert all("is not recorded: AttributeError: module" in line for line in errors)
