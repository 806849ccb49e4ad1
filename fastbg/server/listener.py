"""The listening socket that a server inherits. Clients can send requests to it before the app has started."""

import errno
import socket

from fastbg.errors import ServerError

BACKLOG = 2048  # uvicorn's default


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host`` and ``port``; 0 picks a free one. Raises `ServerError`."""
    where = f"{host}:{port}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        remedy = "choose an address of this machine with --host"
        raise ServerError("the host does not exist", where=where, remedy=remedy) from None
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            failure = failure or error
        else:
            return listener
    assert failure is not None  # noqa: S101  # getaddrinfo returns at least one address
    raise _cannot_bind(failure, where) from None


def _cannot_bind(error: OSError, where: str) -> ServerError:
    remedies = {
        errno.EADDRINUSE: (
            "the port is in use",
            "stop the program that listens there, or choose another --port (0 picks a free one)",
        ),
        errno.EACCES: ("no permission to use the port", "choose a --port of 1024 or above"),
        errno.EADDRNOTAVAIL: ("not an address of this machine", "choose an address of this machine with --host"),
    }
    what, remedy = remedies.get(
        error.errno or 0, (f"cannot listen: {error.strerror}", "choose another --host and --port")
    )
    return ServerError(what, where=where, remedy=remedy)


def url_of(listener: socket.socket) -> str:
    """Return the URL of ``listener``, without a trailing slash."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # it listens on all addresses
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
