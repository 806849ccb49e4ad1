"""The address of a server: a URL, or a Unix socket."""

import socket
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

UNIX = "unix:"  # begins the text of an address with a Unix socket


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a server. ``url``: without a trailing slash. ``unix_socket``: its path, None for a TCP port.

    As text it is the URL, or ``unix:/run/shop.sock``.
    """

    url: str
    unix_socket: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls("http://localhost", text.removeprefix(UNIX)) if text.startswith(UNIX) else cls(text)

    @classmethod
    def of(cls, listener: socket.socket, *, tls: bool = False) -> Self:
        scheme = "https" if tls else "http"
        if listener.family == socket.AF_UNIX:
            return cls(f"{scheme}://localhost", listener.getsockname())
        host, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # it listens on all addresses
        return cls(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")

    def connect(self, timeout_s: float) -> socket.socket:
        """Open a connection. Raises `OSError`."""
        if self.unix_socket is None:
            url = urlsplit(self.url)
            return socket.create_connection((url.hostname or "", url.port or 0), timeout_s)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        try:
            connection.connect(self.unix_socket)
        except OSError:
            connection.close()
            raise
        return connection

    def __str__(self) -> str:
        return self.url if self.unix_socket is None else UNIX + self.unix_socket


def is_valid(address: str) -> bool:
    """Return whether ``address`` has a scheme, a host and, if any, a port that an HTTP client can use; or a socket."""
    if address.startswith(UNIX):
        return address != UNIX
    import httpx  # here: a server process does not need it

    try:
        parts = urlsplit(address)
        url = httpx.URL(address)
        url.raw_host.decode().encode("idna")  # as `socket` does, which refuses an empty label and a long one
        host, port = url.host, parts.port
    except (ValueError, httpx.InvalidURL):  # also an unmatched bracket, a port above 65535, or no UTF-8
        return False
    return parts.scheme in ("http", "https") and bool(host) and not host.isdecimal() and port != 0
