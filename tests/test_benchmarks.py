"""The command line of the benchmarks."""

import pytest

from tests.benchmarks.__main__ import BENCHMARKS, main


def test_help_names_all_benchmarks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    shown = capsys.readouterr().out.splitlines()
    assert BENCHMARKS.keys() <= {line.split()[0] for line in shown if line.strip()}


def test_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["recording", "fast"])
    assert "no benchmark is called fast" in capsys.readouterr().err
