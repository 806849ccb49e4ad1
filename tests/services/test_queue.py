"""The broker and the worker of a script end with the process that started them."""

import subprocess
import sys
from pathlib import Path

from tests.support.processes import descendants, environment, is_running, read_until, wait_until

PROGRAM = """
import asyncio, sys
from pathlib import Path
from fastbg.services.queue import TaskQueue
from fastbg.server.settings import ServerSettings

async def main():
    async with TaskQueue(ServerSettings("fastbg.example.queued:broker", directory=Path(sys.argv[1]))):
        print("started", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_broker_and_worker_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as parent:
        try:
            read_until(parent.stdout, b"started")
            processes = descendants(parent.pid)
        finally:
            parent.kill()
    assert len(processes) >= 3, "a broker, a manager, its worker process"
    wait_until(lambda: not any(map(is_running, processes)))
