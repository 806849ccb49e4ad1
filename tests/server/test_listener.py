"""Listening sockets of every kind, and their addresses."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from fastbg.errors import ServerError
from fastbg.server.address import Address
from fastbg.server.listener import bind, bind_unix, listening


def test_unix_socket_is_there_only_while_it_is_listened_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "x.sock"
    with listening("", 0, uds="x.sock") as listener:
        assert stat.S_IMODE(place.stat().st_mode) == 0o666
        address = Address.of(listener)
        assert (str(address), address.url) == (f"unix:{place}", "http://localhost")
        assert Address.parse(str(address)) == address
        address.connect(1).close()
    assert not place.exists()
    with pytest.raises(FileNotFoundError):
        address.connect(1)


def test_unix_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    place = str(tmp_path / "x.sock")
    bind_unix(place).close()  # the file stays
    with listening("", 0, uds=place) as listener:
        Address.of(listener).connect(1).close()


def test_unix_socket_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    place = tmp_path / "x.sock"
    with listening("", 0, uds=str(place)), pytest.raises(ServerError, match="the file already exists"):
        bind_unix(str(place))
    place.write_text("kept")
    for path, what in ((place, "the file already exists"), (tmp_path / "no" / "x", "No such file or directory")):
        with pytest.raises(ServerError, match=what) as caught, listening("", 0, uds=str(path)):
            raise AssertionError
        assert caught.value.where == str(path)
    with pytest.raises(ServerError, match="path too long"):
        bind_unix(str(tmp_path / ("y" * 120)))
    assert place.read_text() == "kept"


def test_inherited_descriptor_is_listened_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as made, listening("", 0, fd=os.dup(made.fileno())) as listener:
        assert Address.of(listener, tls=True).url == f"https://127.0.0.1:{made.getsockname()[1]}"
    with (tmp_path / "file").open("w") as file:
        for descriptor in (file.fileno(), -1):
            with pytest.raises(ServerError, match="cannot listen on the descriptor"), listening("", 0, fd=descriptor):
                raise AssertionError


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_address_of_a_port_has_a_host_to_connect_to(host: str) -> None:
    with listening(host, 0) as listener:
        address = Address.of(listener)
        address.connect(1).close()
        assert Address.parse(str(address)) == address


def test_too_few_descriptors_are_not_a_missing_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_files(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "getaddrinfo", no_files)
    with pytest.raises(OSError, match="Too many open files"):
        bind("127.0.0.1", 0)
