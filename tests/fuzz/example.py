"""Random requests to the example app: schemathesis makes them from the app's own OpenAPI document.

Whatever is asked, no answer is a 5xx, every answer is one that the document tells of, and the files hold what was asked
for with the answer 200, to the byte, and nothing of the rest. `tests.test_fuzz` does the same in a small way.
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
MISSING = "schemathesis is not installed: .venv/bin/pip install -e '.[dev,fuzz]'"

Written = tuple[str, str]  # a file's name, and what is appended to it
Note = tuple[str, str, str, int | None]  # method, path, query, status


def writes_of(path: str, query: str) -> Iterator[Written]:
    """What a request that was answered with 200 has appended, in that order."""
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


def told(notes: Iterable[Note]) -> Counter[Written]:
    """What the files have to hold after requests so answered."""
    return Counter(
        written
        for method, path, query, status in notes
        if method == "POST" and status == 200
        for written in writes_of(path, query)
    )


def held(folder: Path) -> Counter[Written]:
    """What the files hold: no text that was accepted has a line end, so each one can be told from the next."""
    names = ("README.md", "log.txt")
    readme, log = ((folder / name).read_text("utf-8") if (folder / name).exists() else "" for name in names)
    headings = re.findall(rf"{re.escape(QUOTE)}|\n## [^\n]* 框架精讲|.+?", readme, re.DOTALL)
    lines = re.findall(r"[^\n]*\n|[^\n]+", log)
    return Counter([("README.md", text) for text in headings] + [("log.txt", text) for text in lines])


def fuzz_example(cases: int, *, queued: bool) -> int:
    """Send ``cases`` requests or more; 0 where all was as it should be. ``queued``: to the example with a queue."""
    if find_spec("schemathesis") is None:
        print(MISSING, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        data, notes = folder / "data", folder / "notes"
        variables = {"FASTBG_DIR": str(data), "FASTBG_WORK": "0", "FASTBG_FUZZ_NOTES": str(notes)}
        variables["FASTBG_FUZZ_APP"] = "fastbg.example.queued:app" if queued else "fastbg.example:app"
        if queued:
            from fastbg.services.broker import Broker

            variables["FASTBG_BROKER"] = stack.enter_context(Broker(data)).address
            stack.enter_context(taskiq_worker(folder, **variables))
        with uvicorn("tests.fuzz.witness:app", folder, **variables) as url:
            failed = _send(url, notes, cases)
        asked = [json.loads(line) for line in notes.read_text("ascii").splitlines()]
        return int(_compare(asked, data) or failed)


def _compare(asked: Sequence[Note], data: Path) -> bool:
    """Print what was asked, answered and written; whether there is anything that should not be."""
    expected, end = told(asked), time.monotonic() + PATIENCE_S
    while (found := held(data)).total() < expected.total() and time.monotonic() < end:
        time.sleep(0.1)  # workers may not be done
    missing, forged = expected - found, found - expected
    statuses = Counter(str(status) for *_, status in asked)
    print(f"{len(asked)} requests, answered with", ", ".join(f"{n} x {s}" for s, n in sorted(statuses.items())))
    print(f"{expected.total()} texts accepted, {missing.total()} missing, {forged.total()} that nobody sent")
    broken = [status for status in statuses if status == "None" or status.startswith("5")]
    return bool(broken or missing or forged)


def _send(url: str, notes: Path, cases: int) -> bool:
    """Run schemathesis until ``notes`` tells of so many requests; whether it complained."""
    sent, failed = 0, False
    while sent < cases and not failed:
        each = max((cases - sent) // OPERATIONS, 10)
        command = ["run", f"{url}/openapi.json", "--checks", "all", "--max-examples", str(each)]
        result = subprocess.run([sys.executable, "-m", "schemathesis.cli", *command], cwd=notes.parent, check=False)
        failed = result.returncode != 0
        sent = len(notes.read_bytes().splitlines())
    return failed
