"""Runs the tests of a module against its mutants, each in a copy of the tree."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from tests.mutants import forks
from tests.mutants.mutations import Mutant

COPIED = ("fastbg", "tests", "pyproject.toml")
PATIENCE = 20  # a mutant may take this many times as long as the module itself

Groups = Sequence[Sequence[str]]
_OPTIONS = (
    "-x",
    "-q",
    "-n",
    "0",
    "-p",
    "no:cacheprovider",
    "--hypothesis-profile",
    "mutants",
    "--tb",
    "short",
    "--assert",
    "plain",
)


class FailingTestsError(Exception):
    """The tests of an unchanged module fail, so they cannot show whether a mutant is noticed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``noticed``: why the mutant was noticed, "failed" or "timeout"; None if all tests passed."""

    mutant: Mutant
    noticed: str | None


class Copy:
    """A copy of the tree in ``folder``, and a process that runs its tests."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], output: Path) -> None:
        self._folder = folder
        self._process = process
        self._output = output
        self._changes = 0

    def write(self, module: str, source: str) -> None:
        """Replace the source of a module, with a new modification time, so that no old bytecode is used."""
        path = self._folder / "fastbg" / f"{module}.py"
        path.write_text(source, encoding="utf-8")
        self._changes += 1
        os.utime(path, (self._changes, self._changes))

    def test(self, arguments: Sequence[str], seconds: float | None) -> tuple[int | None, float]:
        """Run pytest. Return its exit code, None after the limit, and the seconds that it took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._output.write_bytes(b"")
        base = f"--basetemp={self._folder.with_name('tmp')}"
        print(
            json.dumps({"arguments": [*_OPTIONS, base, *arguments], "seconds": seconds}),
            file=self._process.stdin,
            flush=True,
        )
        answer = json.loads(self._process.stdout.readline())
        return answer["code"], answer["seconds"]

    @property
    def output(self) -> str:
        """The output of the last run."""
        return self._output.read_text("utf-8", "replace")


@contextmanager
def copied(root: Path) -> Iterator[Copy]:
    with tempfile.TemporaryDirectory(prefix="fastbg-mutants-", ignore_cleanup_errors=True) as name:
        folder, output = Path(name) / "tree", Path(name) / "output"
        folder.mkdir()
        for each in COPIED:
            source = root / each
            if source.is_dir():
                shutil.copytree(source, folder / each, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, folder / each)
        with (
            output.open("ab") as log,
            subprocess.Popen(
                [sys.executable, "-P", forks.__file__],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            yield Copy(folder, process, output)


class Copies:
    """Copies of the tree at ``root``, one per job, that test at the same time."""

    def __init__(self, root: Path, jobs: int) -> None:
        self._root = root
        self._jobs = jobs
        self._idle: SimpleQueue[Copy] = SimpleQueue()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for _ in range(self._jobs):
            self._idle.put(self._stack.enter_context(copied(self._root)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def test(self, module: str, groups: Groups, mutants: Sequence[Mutant]) -> Iterator[Outcome]:
        """Test the mutants of a module, in their order. Raises `FailingTestsError`."""
        limits = [PATIENCE * seconds for seconds in self._measure(module, groups)]

        def test(mutant: Mutant) -> Outcome:
            with self._copy() as copy:
                copy.write(module, mutant.source)
                try:
                    return Outcome(mutant, _noticed(copy, groups, limits))
                finally:
                    copy.write(module, (self._root / "fastbg" / f"{module}.py").read_text("utf-8"))

        with ThreadPoolExecutor(self._jobs) as threads:
            yield from threads.map(test, mutants)

    def _measure(self, module: str, groups: Groups) -> list[float]:
        """Return the seconds that the tests of the unchanged module take."""
        taken = []
        with self._copy() as copy:
            for group in groups:
                code, seconds = copy.test(group, None)
                if code != 0:
                    raise FailingTestsError(f"the tests of {module} fail without a mutant:\n{copy.output}")
                taken.append(seconds)
        return taken

    @contextmanager
    def _copy(self) -> Iterator[Copy]:
        copy = self._idle.get()
        try:
            yield copy
        finally:
            self._idle.put(copy)


def _noticed(copy: Copy, groups: Groups, limits: Sequence[float]) -> str | None:
    for group, seconds in zip(groups, limits, strict=True):
        code, _ = copy.test(group, seconds)
        if code != 0:
            return "timeout" if code is None else "failed"
    return None
