"""What the pytest fixtures ``fastbg`` and ``fastbg_async`` hand to a test.

`Client` is an `httpx.Client` of a real server, `Reply` the `httpx.Response` that it gives: it comes when a client has
it, whatever the background tasks still do, and can be asked about them afterwards.

* `observation`: what one test sees of its server; one request of it, and the wait for its end
* `journal`: reads the server's journal as it grows
* `server`: a server as a test sees it
* `servers`: which servers there are, and how long each is kept
* `process`, `thread`: the two ways to serve an app
* `clients`: `Client`, `AsyncClient` and their replies
* `told`: all of that as text, for a test that failed
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastbg.testing.clients import AsyncClient, AsyncReply, Client, NoResponse, Reply

__all__ = ["AsyncClient", "AsyncReply", "Client", "NoResponse", "Reply"]


def __getattr__(name: str) -> object:
    if name in __all__:  # httpx takes its time to import: a server starts meanwhile
        from fastbg.testing import clients

        return getattr(clients, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
