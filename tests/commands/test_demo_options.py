"""The options of `fastbg demo`, before anything starts."""

from pathlib import Path

import pytest

from fastbg.commands.demo_options import DemoOptions
from fastbg.errors import FastbgError


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("myhost", "http://myhost"),
        ("myhost:80/api", "http://myhost:80/api"),
        ("http://myhost", "http://myhost"),
        ("https://myhost:8443/api", "https://myhost:8443/api"),
        ("HTTP://myhost", "HTTP://myhost"),
    ],
)
def test_address_becomes_a_url(typed: str, url: str, tmp_path: Path) -> None:
    options = DemoOptions(tmp_path, 0.5, url=typed)
    options.check()
    assert options.server_url == url


@pytest.mark.parametrize(
    "typed",
    [
        "",
        ":8000",
        "http://",
        "http:///path",
        "::1",
        "[::1",
        "myhost:no",
        "myhost:0",
        "myhost:65536",
        "ftp://x",
        "8000",
        "htp:/x",
        "no..host",
        "xn--a",
        "a" * 64,
        "http://myhost/\udcff",
    ],
)
def test_what_is_no_address_is_refused_as_typed(typed: str, tmp_path: Path) -> None:
    with pytest.raises(FastbgError, match="not a valid URL") as error:
        DemoOptions(tmp_path, 0.5, url=typed).check()
    assert error.value.where == f"--url {typed}"


def test_every_picture_is_checked(tmp_path: Path) -> None:
    with pytest.raises(FastbgError, match=r"\.svg or \.html") as error:
        DemoOptions(tmp_path, 0.5, save=(tmp_path / "a.svg", tmp_path / "b.png")).check()
    assert error.value.where == f"--save {tmp_path}/b.png"
