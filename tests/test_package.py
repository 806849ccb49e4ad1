"""The built package: it works without the clone and contains no tests."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.delays import unmet_except_time_limits
from tests.support.processes import environment
from tests.support.servers import ROOT

INSTALL_S = 600.0
TEST = """
import pytest
from fastbg.example.app import app

@pytest.fixture
def fastbg_app():
    return app

def test_response_comes_before_the_task(fastbg):
    assert fastbg.post("/background_tasks", params={"framework": "x"}).came_before("bg_task")
"""


def run(*command: str | Path, cwd: Path, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command and return its standard output. Fails for other exit codes."""
    result = subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    assert result.returncode in codes, result.stdout + result.stderr
    return result.stdout


def names(package: Path) -> set[str]:
    """Return the names of the files, without the top folder of an sdist."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return set(wheel.namelist())
    with tarfile.open(package) as sdist:
        return {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}


@pytest.mark.long
def test_packages_hold_the_program_and_work_without_the_clone(tmp_path: Path) -> None:
    # The wheel is made from the sdist.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", ROOT, cwd=tmp_path)
    sdist, wheel = sorted((tmp_path / "dist").iterdir(), key=lambda path: path.suffix)
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fastbg").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names(wheel) if ".dist-info/" not in name} == ours
    assert ours | {"README.md", ".github/CONTRIBUTING.md", "pyproject.toml", "tests/test_package.py"} <= names(sdist)

    folder = tmp_path / "elsewhere"
    folder.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=folder)
    bin_ = folder / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", bin_ / "python", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-compile", f"{wheel}[mail]", "pytest", cwd=folder)
    assert str(folder) in run(bin_ / "python", "-c", "import fastbg; print(fastbg.__file__)", cwd=folder)
    assert run(bin_ / "fastbg", "demo", "--quiet", cwd=folder).startswith("ok: 7 requests, 5 response-first, ")
    assert "register-email" in run(bin_ / "fastbg", "demo", "--list", cwd=folder)
    assert "never started" in run(bin_ / "fastbg", "explain", "dropped", cwd=folder)
    mail = json.loads(run(bin_ / "fastbg", "demo", "register-email", "--json", cwd=folder, codes=(0, 1)))
    assert unmet_except_time_limits(mail) == []
    assert mail["summary"]["response_first"] == 1
    (folder / "test_shop.py").write_text(TEST, encoding="utf-8")
    assert "1 passed" in run(bin_ / "python", "-m", "pytest", "-q", cwd=folder)
