"""Values that h11, httpx, subprocess or the operating system would refuse are faults of the script."""

from pathlib import Path

import pytest

from fastbg.errors import ScriptError
from fastbg.scripting.reader import read_script
from tests.support.forks import not_used
from tests.support.processes import fastbg

APP = "from fastapi import FastAPI\napp = FastAPI()\n\n@app.get('/')\ndef root(): pass\n"


def faults(text: str) -> list[str]:
    with pytest.raises(ScriptError) as caught:
        read_script(text, "s.toml", Path(), {})
    return list(caught.value.details)


def request(more: str, top: str = "") -> str:
    return f'app = "app:app"\n{top}\n[[request]]\npath = "/"\n{more}\n'


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ('headers.X = " x"', 'headers.X: found " x", but a value cannot begin or end with a space'),
        ('cookies.a = "x "', 'cookies.a: found "x ", but a value cannot begin or end with a space'),
        (
            'headers.Transfer-Encoding = "gzip"',
            'headers.Transfer-Encoding: found "gzip", but HTTP/1.1 refuses it: '
            "Only Transfer-Encoding: chunked is supported",
        ),
        (
            'headers.Content-Length = "x"',
            'headers.Content-Length: found "x", but HTTP/1.1 refuses it: bad Content-Length',
        ),
        (
            'headers.content-length = "7"',
            "headers.content-length: has a Content-Length of 7, but its body has 0 bytes: remove the header",
        ),
        (
            'body = "é"\nheaders.Content-Length = "1"',
            "headers.Content-Length: has a Content-Length of 1, but its body has 2 bytes: remove the header",
        ),
        (
            'json = 1\nheaders.Content-Length = "1"',
            "headers.Content-Length: has a Content-Length, which fastbg computes for this body: remove the header",
        ),
    ],
)
def test_header_that_cannot_be_sent_is_a_fault(more: str, fault: str) -> None:
    line = 5 + more.count("\n")
    assert faults(request(more)) == [f"s.toml:{line}: request[1].{fault}"]


def test_common_content_length_may_contradict_a_body() -> None:
    text = request('body = "abc"\n[[request]]\npath = "/b"\nbody = "abcd"', 'headers.Content-Length = "3"')
    assert faults(text) == [
        "s.toml:6: request[2]: has a Content-Length of 3, but its body has 4 bytes: remove the header"
    ]


@pytest.mark.parametrize(
    "more",
    [
        'method = "POST"\nbody = "é"\nheaders.Content-Length = "2"',
        'method = "POST"\nbody = "${mark}"\nheaders.Content-Length = "2"',
        'headers.Content-Length = "${mark}"',
        'headers.X = "${mark}"',
        'headers.Transfer-Encoding = "chunked"',
        'headers.Host = "other"',
    ],
)
def test_header_that_may_be_sent_is_no_fault(more: str) -> None:
    assert read_script(request(more), "s.toml", Path(), {}).script.requests


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        (r"/\u0001", r'found "/\u0001", but control characters are not allowed: write %00 to %1F'),
        ("/" + "x" * 70_000, "has 70,001 characters, but a path can have 60,000"),
    ],
)
def test_path_that_no_url_can_have_is_a_fault(target: str, fault: str) -> None:
    assert faults(f'app = "app:app"\n[[request]]\nname = "a"\npath = "{target}"') == [
        f"s.toml:4: request[1].path: {fault}"
    ]


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://a:0", "https://[::1", "http://:80", "http://a..b"])
def test_url_with_a_port_or_host_that_cannot_be_is_a_fault(url: str) -> None:
    assert faults(f'url = "{url}"\n[[request]]\npath = "/"') == [
        f's.toml:1: url: found "{url}", which is not a valid URL: write http://127.0.0.1:8000'
    ]


NAME = "is not a valid name of an environment variable: it is empty, or has a = or a NUL character"
NUL = r'found "a\u0000", but the operating system refuses NUL characters'


@pytest.mark.parametrize(
    ("top", "fault"),
    [
        ('env."A=B" = "x"', f'env."A=B": {NAME}'),
        ('env."" = "x"', f'env."": {NAME}'),
        (r'env."A\u0000" = "x"', rf'env."A\u0000": {NAME}'),
        (r'env.A = "a\u0000"', f"env.A: {NUL}"),
        (f'env.A = "{"x" * 131_072}"', "env.A: has 131,074 bytes, but the operating system takes less than 131,072"),
        (r'command = ["a\u0000", "${port}"]', f"command[1]: {NUL}"),
        (r'follow = ["a\u0000"]', f"follow[1]: {NUL}"),
        (r'mail = "a\u0000"', f"mail: {NUL}"),
        (r'server.uds = "a\u0000"', f"server.uds: {NUL}"),
    ],
)
def test_what_no_process_can_get_is_a_fault(top: str, fault: str) -> None:
    (found,) = faults(request("", top))
    assert found.startswith(f"s.toml:2: {fault}")


def test_environment_of_a_part_is_checked_too() -> None:
    text = 'app = "a:b"\n[[part]]\nname = "p"\nenv."=" = "x"\n[[part.request]]\npath = "/"\n'
    assert faults(text) == [f's.toml:4: part[1].env."=": {NAME}']


def test_process_that_cannot_start_is_an_error_in_three_parts(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "s.toml").write_text(request("", 'folder = "${dir}/nope"'))
    with not_used():
        result = fastbg("demo", "s.toml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    folder = tmp_path / ".fastbg" / "nope"
    reason = f"fastbg: the process cannot be started: No such file or directory: {folder}\n  where: app:app\n  fix: "
    assert result.stderr.decode().startswith(reason)


def test_type_of_an_upload_is_one_line_of_the_body() -> None:
    upload = '[[request.files]]\nfield = "f"\ntext = "x"\ntype = "text/plain\\r\\nX: injected"'
    (fault,) = faults(request(upload))
    expected = r'found "text/plain\r\nX: injected", but only printable characters are allowed'
    assert fault == f"s.toml:8: request[1].files[1].type: {expected}"


def test_long_dotted_key_is_refused_before_it_is_read() -> None:
    """The beginnings of a key with 20,000 names would take 2.4 GB."""
    for text in (".".join(["a"] * 300) + " = 1", "x = { 'a' ." + " . ".join(['"b"'] * 300) + " = 1 }"):
        with pytest.raises(ScriptError, match="nested too deeply"):
            read_script(request(text), "s.toml", Path(), {})
    assert faults(request('body = "' + ".".join(["a"] * 300) + '"\nrepeat = 0'))[0].startswith(
        "s.toml:6: request[1].repeat"
    )
