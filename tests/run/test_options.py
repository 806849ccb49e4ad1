"""The options of a run."""

from pathlib import Path

from fastbg.run.options import RunOptions
from fastbg.server.settings import ServerSettings


def test_default_run_sends_once_to_a_server_of_ours() -> None:
    options = RunOptions(Path("/data"), 10.0, ServerSettings("", directory=Path("/data")), {})
    assert (options.url, options.repeat, options.concurrency) == (None, 1, 1)
