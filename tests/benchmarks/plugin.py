"""The cost of the pytest plugin in a session that does not use it."""

import sys
import tempfile
from pathlib import Path

from tests.benchmarks.rows import Row
from tests.benchmarks.runs import alternately, run_of

ROUNDS = 31
MAX_RATIO = 1.05


def plugin_start() -> list[Row]:
    """Compare ``pytest`` on a file with one empty test, with and without the plugin."""
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder) / "test_empty.py"
        test.write_text("def test(): pass\n", encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, str(test)]
        ours, floor = alternately([run_of(command), run_of([*command, "-p", "no:fastbg"])], ROUNDS)
    detail = f"{ours * 1e3:.0f} ms / {floor * 1e3:.0f} ms, median of {ROUNDS} runs"
    what = "pytest with the plugin, unused"
    return [Row(what, "pytest -p no:fastbg", ours / floor, f"<= {MAX_RATIO}", ours <= MAX_RATIO * floor, detail)]
