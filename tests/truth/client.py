"""A client for what httpx cannot do: see `tests.truth.shapes.RawClient`."""

import socket
import ssl
import time
from urllib.parse import urlsplit

import h11

from fastbg.recorder.request_ids import HEADER
from tests.truth.shapes import RawClient, Shape

SMALL_BUFFER = 4096  # of the socket of a slow client, in bytes
LIMIT_S = 30.0


def ask(url: str, shape: Shape, request_id: str, tls: ssl.SSLContext | None) -> bool:
    """Send a request. Return whether the complete response arrived."""
    client = shape.client or RawClient()
    address = urlsplit(url)
    with socket.socket() as plain:
        plain.settimeout(LIMIT_S)
        if client.pace_s:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        plain.connect((address.hostname, address.port))
        with plain if tls is None else tls.wrap_socket(plain, server_hostname=address.hostname) as connection:
            headers = {"Host": address.netloc, "X-Request-ID": request_id, HEADER: request_id}
            if client.body:
                headers |= {"Content-Length": str(len(client.body)), "Expect": "100-continue"}
            head = [f"{shape.method} {shape.path} HTTP/{client.http}", *(f"{n}: {v}" for n, v in headers.items())]
            connection.sendall("\r\n".join([*head, "", ""]).encode())
            return _receive(connection, client, shape, headers)


def _receive(connection: socket.socket, client: RawClient, shape: Shape, headers: dict[str, str]) -> bool:
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=shape.method, target=shape.path, headers=list(headers.items())))
    received = 0
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            return False
        if event is h11.NEED_DATA:
            time.sleep(client.pace_s)
            try:
                data = connection.recv(16384)
            except OSError:
                return False
            received += len(data)
            parser.receive_data(data)
            if client.stop_after is not None and received >= client.stop_after:
                return False
        elif isinstance(event, h11.InformationalResponse):
            connection.sendall(client.body)
        elif isinstance(event, h11.EndOfMessage):
            return True
