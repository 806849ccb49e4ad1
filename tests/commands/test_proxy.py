"""`fastbg demo` with a proxy between client and server."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.support.processes import fastbg
from tests.support.servers import fastbg_serve

SHOP = """
import time
from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

def write():
    time.sleep(0.3)

@app.post("/mail")
def mail(tasks: BackgroundTasks):
    tasks.add_task(write)
"""


class BreakingProxy:
    """A TCP proxy that passes each request on, and ends the connection in place of the response to a POST."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> "BreakingProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # `close` alone would not end `accept`
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with ThreadPoolExecutor() as pool, suppress(OSError):
            while True:
                pool.submit(self._pass_on, self._listener.accept()[0])

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            while request := client.recv(65536):
                server.sendall(request)
                response = server.recv(65536)
                if request.startswith(b"POST "):
                    return
                client.sendall(response)


def test_task_whose_response_a_proxy_has_kept_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "s.toml").write_text('app = "shop:app"\n[[request]]\nmethod = "POST"\npath = "/mail"\n')
    with (
        fastbg_serve("shop:app", cwd=tmp_path) as url,
        BreakingProxy(("127.0.0.1", int(url.rpartition(":")[2]))) as proxy,
    ):
        result = fastbg("demo", "s.toml", "--url", proxy.url, "--json", cwd=tmp_path)
    (request,) = json.loads(result.stdout)["requests"]
    assert (request["verdict"], [task["state"] for task in request["tasks"]]) == ("unproven", ["finished"])
    assert request["reason"].startswith("no response: ")
    assert "; the server had sent all of it" in request["reason"]
