"""``fastbg tail --web``: the address of the live page, and its server. It imports FastAPI and uvicorn."""

import threading
import webbrowser
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from fastbg.output import notify
from fastbg.page.live import LiveFeed, live_page
from fastbg.page.live_server import serving
from fastbg.server.address import Address
from fastbg.server.listener import bind


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Where to serve the page. ``port``: 0 for a free one. ``opens``: whether a browser is opened."""

    host: str = "127.0.0.1"
    port: int = 0
    opens: bool = False


def start(feed: LiveFeed, options: WebOptions, directory: Path) -> AbstractAsyncContextManager[None]:
    """Listen, and print the address. Returns the server, to run around the following. Raises `ServerError`."""
    listener = bind(options.host, options.port)
    url = f"{Address.of(listener)}/"
    print(f"fastbg tail: the live page is {url} (Ctrl-C ends it)", flush=True)  # noqa: T201  # the result of the command
    if options.opens:
        threading.Thread(target=_open, args=(url,), daemon=True).start()  # a browser of the terminal blocks
    return serving(feed, live_page(directory), listener, options.host)


def _open(url: str) -> None:
    if not webbrowser.open(url):
        notify(f"fastbg: no browser was found: open {url} yourself")
