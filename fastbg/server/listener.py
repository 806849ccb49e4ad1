"""The listening socket that a server inherits. Clients can send requests to it before the app has started."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastbg.errors import ServerError

BACKLOG = 2048  # uvicorn's default


@contextmanager
def listening(host: str, port: int, *, uds: str | None = None, fd: int | None = None) -> Iterator[socket.socket]:
    """Listen on the Unix socket ``uds``, on the inherited descriptor ``fd``, or on ``host`` and ``port``.

    The file of a Unix socket is deleted at the end of the block. Raises `ServerError`.
    """
    if uds is None:
        with bind(host, port) if fd is None else _inherit(fd) as listener:
            yield listener
        return
    try:
        with bind_unix(uds) as listener:
            yield listener
    finally:
        remove_unused(uds)


def bind_unix(path: str) -> socket.socket:
    """Return a Unix socket that listens at ``path``, with the permissions that uvicorn sets. Raises `ServerError`."""
    place = Path(path).absolute()
    listener = socket.socket(socket.AF_UNIX)
    try:
        remove_unused(path)
        listener.bind(str(place))
        place.chmod(0o666)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        raise ServerError(
            f"cannot listen on the Unix socket: {'the file already exists' if taken else error.strerror or error}",
            where=str(place),
            remedy="stop the server that uses it, or choose another path" if taken else "choose another path",
        ) from None
    return listener


def remove_unused(path: str) -> None:
    """Delete the Unix socket at ``path`` if no server listens on it."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except ConnectionRefusedError:  # also if it is no socket
            if Path(path).is_socket():
                Path(path).unlink()


def _inherit(descriptor: int) -> socket.socket:
    """Return the socket of an inherited ``descriptor``, such as one of systemd. Raises `ServerError`."""
    try:
        listener = socket.socket(fileno=descriptor)
        listener.listen(BACKLOG)
    except (OSError, ValueError) as error:
        raise ServerError(
            f"cannot listen on the descriptor: {error}",
            where=f"--fd {descriptor}",
            remedy="pass the descriptor of a socket",
        ) from None
    return listener


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host`` and ``port``; 0 picks a free one. Raises `ServerError`."""
    where = f"{host}:{port}"
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):  # any other error is one of this machine
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
