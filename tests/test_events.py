"""The shared event types."""

import subprocess
import sys

import pytest

from fastbg.events import boot_id
from tests.support.servers import ROOT


def test_boot_id_is_the_same_in_one_boot() -> None:
    assert boot_id() == boot_id() != ""


def test_time_namespace_has_a_clock_of_its_own() -> None:
    own = ("unshare", "--map-root-user", "--time", "--monotonic=100000", "--fork")
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no time namespaces here")
    program = [sys.executable, "-c", "from fastbg.events import boot_id; print(boot_id())"]
    here, there = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        for command in (program, [*own, *program])
    )
    assert here == boot_id()
    assert there.startswith(f"{here}-time:[")
