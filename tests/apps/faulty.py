"""An app that meets the fault ``FAULT`` at the moment ``WHEN`` of its life, for `tests.run.test_machine_faults`.

Its task writes its text when a file says that the client has the response.
"""

import itertools
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import fastbg.recorder.journal
import fastbg.recorder.journal_events

fastbg.recorder.journal.CHECK_NS = 0  # look each time whether the journal is still there
LOG = Path("log.txt")
DATA = Path(os.environ["FASTBG_DIR"])
JOURNAL = DATA / "journal.jsonl"
WHEN = os.environ["WHEN"]


def stop() -> None:
    Path("stopped").write_text(str(os.getpid()))
    signal.raise_signal(signal.SIGSTOP)  # in this thread, before it takes another step


def step_the_clock() -> None:
    """Each look at the wall clock finds it half an hour before or behind."""
    steps = itertools.cycle([-1800, 1800])
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + next(steps)
    time.time_ns = lambda: real_ns() + next(steps) * 10**9
    vars(fastbg.recorder.journal_events)["time_ns"] = time.time_ns


def fill_the_disk() -> None:
    fastbg.recorder.journal._write = lambda *_: -1  # type: ignore[assignment]  # it stands for the system's call


FAULTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": stop,
    "delete the journal": JOURNAL.unlink,
    "truncate the journal": lambda: os.truncate(JOURNAL, 0),
    "remove the folder": lambda: shutil.rmtree(DATA),
    "step the clock": step_the_clock,
    "fill the disk": fill_the_disk,
}


def reach(moment: str) -> None:
    if moment == WHEN and not (met := Path("met")).exists():
        met.touch()
        FAULTS[os.environ["FAULT"]]()


def write(text: str) -> None:
    reach("response")
    while not Path(f"answered-{text.strip()}").exists():
        time.sleep(0.002)
    with LOG.open("a") as log:
        log.write(text)
    reach("write")


async def work(request: Request) -> Response:
    reach("request")
    return PlainTextResponse("done later", background=BackgroundTask(write, request.query_params["text"]))


async def probe(request: Request) -> Response:
    return PlainTextResponse("", background=BackgroundTask(answered_probe))


async def answered_probe() -> None:
    reach("probe")  # before the event loop takes another request


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    reach("startup")
    yield
    reach("drain")


reach("import")
app = Starlette(
    lifespan=lifespan, routes=[Route("/work", work, methods=["POST"]), Route("/", probe, methods=["OPTIONS"])]
)
