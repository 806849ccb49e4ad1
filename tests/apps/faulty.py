"""An app that triggers the fault ``FAULT`` at the moment ``WHEN``, for `tests.run.test_machine_faults`.

Its task waits for a file that exists once the client has the response, then writes its text.
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

fastbg.recorder.journal.CHECK_NS = 0  # check for a deleted journal before each event
LOG = Path("log.txt")
DATA = Path(os.environ["FASTBG_DIR"])
JOURNAL = DATA / "journal.jsonl"
WHEN = os.environ["WHEN"]


def stop() -> None:
    Path("stopped").write_text(str(os.getpid()))
    signal.raise_signal(signal.SIGSTOP)  # in this thread, so it stops at once


def step_the_clock() -> None:
    """Make each read of the wall clock half an hour early or late, in turn."""
    steps = itertools.cycle([-1800, 1800])
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + next(steps)
    time.time_ns = lambda: real_ns() + next(steps) * 10**9
    vars(fastbg.recorder.journal_events).update(coarse_time_ns=time.time_ns, STAMP_NS=-1)  # read for each event


def fill_the_disk() -> None:
    fastbg.recorder.journal._write = lambda *_: -1  # type: ignore[assignment]  # it replaces the system call


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
    if moment == WHEN and not (triggered := Path("triggered")).exists():
        triggered.touch()
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
    return PlainTextResponse("", background=BackgroundTask(after_probe))


async def after_probe() -> None:
    reach("probe")  # before the event loop handles another request


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    reach("startup")
    yield
    reach("drain")


reach("import")
app = Starlette(
    lifespan=lifespan, routes=[Route("/work", work, methods=["POST"]), Route("/", probe, methods=["OPTIONS"])]
)
