"""Random requests to the example app. schemathesis makes them from the OpenAPI document of the app.

No response has status 5xx, each response matches the document, and the files contain exactly the texts of the requests
with status 200. `tests.test_fuzz` is a short version.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl

from tests.support.processes import PATIENCE_S
from tests.support.queues import taskiq_worker
from tests.support.servers import uvicorn

QUOTE = "\n## \n> 整体的介绍 FastAPI, 快速上手开发, 结合 API 交互文档逐个讲解核心模块的使用\n 框架精讲"
OPERATIONS = 5
NOT_INSTALLED = "schemathesis is not installed: .venv/bin/pip install -e '.[dev,fuzz]'"

Written = tuple[str, str]  # name of a file, and appended text
LoggedRequest = tuple[str, str, str, int | None]  # method, path, query, status


def writes_of(path: str, query: str) -> Iterator[Written]:
    """Yield the texts that a request with status 200 appends, in order."""
    values = dict(parse_qsl(query, keep_blank_values=True))
    q, heading = values.get("q"), ("README.md", f"\n## {values.get('framework')} 框架精讲")
    if q and path.startswith(("/send-notification/", "/sub-dependency/")):
        yield "log.txt", f"found query: {q}\n"
    match path.split("/")[1:]:
        case ["background_tasks" | "foreground_tasks"]:
            yield heading
        case ["dependency", "background_tasks"]:
            if q:
                yield "README.md", QUOTE
        case ["sub-dependency", "background_tasks"]:
            yield "log.txt", f"framework: {values['framework']}\n"
            yield heading
        case ["send-notification", email]:
            yield "log.txt", f"message to {email}\n"


def expected_writes(log: Iterable[LoggedRequest]) -> Counter[Written]:
    """Count the texts that the files must contain after these requests."""
    return Counter(
        written
        for method, path, query, status in log
        if method == "POST" and status == 200
        for written in writes_of(path, query)
    )


def read_writes(folder: Path) -> Counter[Written]:
    """Count the texts in the files. Accepted texts have no newline, so each text can be identified."""
    names = ("README.md", "log.txt")
    readme, log = ((folder / name).read_text("utf-8") if (folder / name).exists() else "" for name in names)
    headings = re.findall(rf"{re.escape(QUOTE)}|\n## [^\n]* 框架精讲|.+?", readme, re.DOTALL)
    lines = re.findall(r"[^\n]*\n|[^\n]+", log)
    return Counter([("README.md", text) for text in headings] + [("log.txt", text) for text in lines])


def fuzz_example(cases: int, *, queued: bool) -> int:
    """Send at least ``cases`` requests. Return the exit code. ``queued``: use the queued example."""
    if find_spec("schemathesis") is None:
        print(NOT_INSTALLED, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        data, log = folder / "data", folder / "notes"
        variables = {"FASTBG_DIR": str(data), "FASTBG_WORK": "0", "FASTBG_FUZZ_NOTES": str(log)}
        variables["FASTBG_FUZZ_APP"] = "fastbg.example.queued:app" if queued else "fastbg.example:app"
        if queued:
            from fastbg.services.broker import Broker

            variables["FASTBG_BROKER"] = stack.enter_context(Broker(data)).address
            stack.enter_context(taskiq_worker(folder, **variables))
        with uvicorn("tests.fuzz.witness:app", folder, **variables) as url:
            failed = _send(url, log, cases)
        requests = [json.loads(line) for line in log.read_text("ascii").splitlines()]
        return int(_compare(requests, data) or failed)


def _compare(requests: Sequence[LoggedRequest], data: Path) -> bool:
    """Print the requests, statuses and texts. Return whether there are faults."""
    expected, end = expected_writes(requests), time.monotonic() + PATIENCE_S
    while (found := read_writes(data)).total() < expected.total() and time.monotonic() < end:
        time.sleep(0.1)  # workers may still run
    missing, unexpected = expected - found, found - expected
    statuses = Counter(str(status) for *_, status in requests)
    print(f"{len(requests)} requests with status", ", ".join(f"{n} x {s}" for s, n in sorted(statuses.items())))
    print(f"{expected.total()} texts accepted, {missing.total()} missing, {unexpected.total()} unexpected")
    broken = [status for status in statuses if status == "None" or status.startswith("5")]
    return bool(broken or missing or unexpected)


def _send(url: str, log: Path, cases: int) -> bool:
    """Run schemathesis until ``log`` has ``cases`` requests. Return whether it found faults."""
    sent, failed = 0, False
    while sent < cases and not failed:
        each = max((cases - sent) // OPERATIONS, 10)
        command = ["run", f"{url}/openapi.json", "--checks", "all", "--max-examples", str(each)]
        result = subprocess.run([sys.executable, "-m", "schemathesis.cli", *command], cwd=log.parent, check=False)
        failed = result.returncode != 0
        sent = len(log.read_bytes().splitlines())
    return failed
