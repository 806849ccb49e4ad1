"""The clients that the pytest fixtures ``fastbg`` and ``fastbg_async`` give to a test.

`Client` is an `httpx.Client` for a real server. It returns a `Reply`, an `httpx.Response`, as soon as the response is
complete, while background tasks may still run. A test can then check these tasks on the reply.

* `clients`: `Client`, `AsyncClient` and their replies
* `request_log`: the requests of one test, and the wait for their tasks
* `journal`: reads the server's journal as it grows
* `server`: the interface of a server under test
* `process`, `thread`: two ways to serve an app
* `servers`: the servers of a test session and their lifetimes
* `configuration`: how an app is served
* `event_loop`: the event loop of all app objects
* `mailbox`: a mail server
* `failure`: the text that a failed test shows
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastbg.testing.clients import AsyncClient, AsyncReply, Client, NoResponse, Reply
    from fastbg.testing.mailbox import Mail, Mailbox

__all__ = ["AsyncClient", "AsyncReply", "Client", "Mail", "Mailbox", "NoResponse", "Reply"]


def __getattr__(name: str) -> object:
    if name in ("Mail", "Mailbox"):
        from fastbg.testing import mailbox

        return getattr(mailbox, name)
    if name in __all__:  # importing httpx is slow: a server starts in the meantime
        from fastbg.testing import clients

        return getattr(clients, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
