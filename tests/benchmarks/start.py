"""The run time of the help and of a whole demo."""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.rows import Row
from tests.benchmarks.runs import alternately, environment, run_of

ROUNDS = 15
BIN = Path(sys.executable).parent
CHAIN_S = 1.5  # three tasks of 0.5 s in sequence, the longest request of the default script


def help_start() -> list[Row]:
    """Compare ``fastbg --help`` with ``typer --help``."""
    ours, floor = alternately([run_of([f"{BIN}/fastbg", "--help"]), run_of([f"{BIN}/typer", "--help"])], ROUNDS)
    return [_row("fastbg --help", "typer --help", ours, floor, 1.1)]


def demo_time() -> list[Row]:
    """Compare ``fastbg demo``, less the work that it waits for, with uvicorn up to its first response."""
    with tempfile.TemporaryDirectory() as folder:
        demo = [f"{BIN}/fastbg", "demo", "--dir", folder]
        floor, instant, half = alternately(
            [lambda: _uvicorn_response_time(folder), run_of([*demo, "--work", "0"]), run_of([*demo, "--work", "0.5"])],
            ROUNDS,
        )
    name = "uvicorn until its first response"
    return [
        _row("fastbg demo --work 0", name, instant, floor, 1.5),
        _row(f"fastbg demo, less {CHAIN_S} s of work", name, half - CHAIN_S, floor, 1.5),
    ]


def _row(what: str, floor: str, ours: float, baseline: float, most: float) -> Row:
    detail = f"{ours * 1e3:.0f} ms / {baseline * 1e3:.0f} ms, median of {ROUNDS} runs"
    return Row(what, floor, ours / baseline, f"<= {most}", ours <= most * baseline, detail)


def _uvicorn_response_time(folder: str) -> float:
    """Return the seconds from the start of uvicorn with the example app to the first byte of its first response."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begin = time.perf_counter()
    command = [f"{BIN}/uvicorn", "fastbg.example:app", "--port", str(port), "--log-level", "warning"]
    with subprocess.Popen(command, env=environment() | {"FASTBG_DIR": folder}) as server:
        try:
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port)) as connection:
                        connection.sendall(b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n")
                        connection.recv(1)
                        return time.perf_counter() - begin
                except ConnectionRefusedError:
                    time.sleep(0.001)
        finally:
            server.terminate()
