"""Hostile texts in every input and output: all are escaped, and documents stay well-formed."""

import json
import logging
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from markdown_it import MarkdownIt

from fastbg.commands.demo import _write_result
from fastbg.commands.demo_options import DemoOptions
from fastbg.commands.greeting import BrokerInfo
from fastbg.commands.report import report
from fastbg.commands.serve import greet
from fastbg.commands.tail import TailOptions, tail
from fastbg.errors import FastbgError, ScriptError, ServerDied
from fastbg.events import Notice
from fastbg.evidence.results import RunResult
from fastbg.evidence.trace import Expected, ExpectedTask, ExpectedWrite, ReceivedBody, SentRequest, Trace, Write
from fastbg.output import report_error
from fastbg.report.console import final, live, overview, scripts
from fastbg.report.junit import junit
from fastbg.report.picture import save_picture
from fastbg.report.summary import markdown, one_line
from fastbg.report.text_lines import TextPrinter
from fastbg.scripting.reader import read_script
from fastbg.server import logs
from fastbg.server.listener import bind
from fastbg.server.settings import ServerSettings
from fastbg.testing.failure import describe_failure
from fastbg.testing.server import Server
from tests.report.test_console import shown
from tests.support.hostile import ALL, HOSTILE, read_html, unescaped_in
from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg, read_rest, read_until, terminal
from tests.support.recordings import line
from tests.support.results import in_milliseconds, run
from tests.support.servers import ROOT, URL, fetch
from tests.support.traces import answered, event, finished, requested, sent, task, trace

NAME = "\x1b[2J\u202e[red]\x9b31m\u2028<b>&\udc9b\n|`.md"  # a valid file name


def answer(text: str) -> Trace:
    """Make a request with ``text`` in the request, the response and the write."""
    made = in_milliseconds(finished(task(sent(answered(trace(writes=0), 1002, size=9), 1001, size=9), 1100)))
    made.request = SentRequest(text, text, text, text, part=text, script=text)
    made.body = ReceivedBody(text, {text: [text]})
    made.unsaved = {text: text}
    writes = (
        ExpectedWrite(f"/data/{text}", text, True, writes=[Write(f"/data/{text}", text, 1_200_000_000, 9, 9)]),
        ExpectedWrite(f"/data/{text}", text, True, pattern=True),
    )
    made.expected = Expected("work-first", (201,), text, (ExpectedTask(text),), writes)
    return made


def failure(text: str, end: str = "task_failed") -> Trace:
    """Make a request that failed with ``text`` as the reason, such as an exception."""
    detail = {"task": text, "n": 1, "where": text}
    traceback = text.replace("\n", "")  # it may have several lines
    made = in_milliseconds(task(trace(), None, end, error=text, reason=text, detail=text, traceback=traceback))
    made.events.append(event(1_200_000_000, "client", "response_headers", status=405, allow=text))
    made.similar_routes, made.body = (text,), ReceivedBody(text)
    requested(made, name=text).ended = text
    made.events.append(event(1_300_000_000, "server", "task_started", **detail))
    made.events.append(event(1_400_000_000, "client", "request_failed", error=text))
    return made


def run_of(texts: dict[str, str]) -> RunResult:
    """Make a run with these texts in all fields from outside."""
    every = " ".join(texts.values())
    traces = [made for text in texts.values() for made in (answer(text), failure(text))]
    traces.append(failure(every, "task_dropped"))
    made = {"name": every, "server": every, "title": every, "about": every, "stopped": every}
    return run(*traces, **made, links=(every,), remarks=(every, *texts.values()), stderr=tuple(texts.values()))


@pytest.fixture(scope="module")
def hostile() -> RunResult:
    return run_of(HOSTILE)


@pytest.fixture(scope="module")
def harmless() -> RunResult:
    """Make a run of the same shape with harmless texts."""
    return run_of({"one": "text", "another": "other text"})


# A run


Render = Callable[[RunResult, str], object]


def whole(run: RunResult, encoding: str) -> object:
    return final(run, encoding=encoding)


@pytest.mark.parametrize(
    ("render", "kind", "encoding"),
    [
        (whole, "terminal", "utf-8"),
        (whole, "lines", "utf-8"),
        (whole, "ascii", "ascii"),
        (lambda run, encoding: final(run, encoding=encoding, brief=True), "lines", "utf-8"),
        (lambda run, encoding: live(run, encoding=encoding, now_ns=2 * 10**9), "terminal", "utf-8"),
        (lambda run, encoding: overview([run, run], encoding=encoding), "terminal", "utf-8"),
        (lambda run, encoding: scripts({"group": [("name", run.title)]}), "terminal", "utf-8"),
    ],
    ids=["whole-terminal", "whole-pipe", "whole-ascii", "brief", "live", "overview", "scripts"],
)
def test_nothing_gets_through_to_a_terminal_or_a_pipe(
    render: Render, kind: str, encoding: str, hostile: RunResult
) -> None:
    text = shown(render(hostile, encoding), terminal=kind == "terminal", encoding=encoding, width=300)
    assert unescaped_in(text.encode(), kind) == set()
    assert r"\x1b[2J" in text
    assert "[red]x[/red]" in text
    assert ":smile:" in text


def test_nothing_gets_through_to_the_one_line(hostile: RunResult) -> None:
    assert unescaped_in(one_line([hostile, hostile]).encode(), "lines") == set()
    assert "\n" not in one_line([hostile])


def elements_of(document: ET.Element) -> set[tuple[str, ...]]:
    """Return the elements with the names of their attributes."""
    return {(element.tag, *element.attrib) for element in document.iter()}


def test_svg_stays_well_formed_and_gets_no_element(hostile: RunResult, harmless: RunResult, tmp_path: Path) -> None:
    documents = []
    for number, result in enumerate((hostile, harmless)):
        path = tmp_path / f"{number}.svg"
        save_picture([result], path)
        assert unescaped_in(path.read_bytes(), "lines") == set()
        documents.append(ET.fromstring(path.read_bytes()))
    assert elements_of(documents[0]) <= elements_of(documents[1])
    assert r"\x1b[2J" in "".join(documents[0].itertext()).replace("\xa0", " ")


def test_html_stays_well_formed_and_gets_no_element(hostile: RunResult, harmless: RunResult, tmp_path: Path) -> None:
    found = []
    for number, result in enumerate((hostile, harmless)):
        path = tmp_path / f"{number}.html"
        save_picture([result], path)
        assert unescaped_in(path.read_bytes(), "lines") == set()
        found.append(read_html(path.read_text("utf-8")))
    assert found[0][0] == found[1][0]
    assert r"\x1b[2J" in found[0][1]
    assert "<script>" in found[0][1]


def test_junit_stays_well_formed_and_gets_no_element(hostile: RunResult, harmless: RunResult) -> None:
    document = junit([hostile])
    assert unescaped_in(document.encode(), "lines") == set()
    assert elements_of(ET.fromstring(document)) == elements_of(ET.fromstring(junit([harmless])))


def test_summary_for_github_gets_no_markup(hostile: RunResult, harmless: RunResult) -> None:
    contents = [markdown(result) for result in (hostile, harmless)]
    assert unescaped_in(contents[0].encode(), "lines") == set()
    kinds = [[token.type for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text)] for text in contents]
    assert set(kinds[0]) == set(kinds[1])
    rendered = [read_html(MarkdownIt("gfm-like", {"linkify": False}).render(text)) for text in contents]
    assert rendered[0][0] == rendered[1][0]


def strict(document: str) -> Any:
    return json.loads(document, parse_constant=pytest.fail)


def test_json_of_demo_is_ascii_and_gives_every_text_back(
    hostile: RunResult, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_result([hostile], DemoOptions(Path(), 0, as_json=True))
    written = capsys.readouterr().out
    assert unescaped_in(written.encode(), "ascii") == set()
    document = strict(written)
    assert [request["body"] for request in document["requests"][:-1:2]] == [{text: [text]} for text in HOSTILE.values()]
    assert document["stderr"] == list(HOSTILE.values())


def test_nothing_gets_through_short_lines(hostile: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    _write_result([hostile], DemoOptions(Path(), 0, quiet=True, workspace=Path("/")))
    written = capsys.readouterr().out
    assert unescaped_in(written.encode(), "lines") == set()
    commands = [line for line in written.splitlines() if line.startswith("::")]
    assert all(line.startswith("::error ") for line in commands)
    assert len(commands) > len(HOSTILE)


# A journal


def journal(folder: Path) -> Path:
    """Write a journal with all hostile texts in events and as lines between them."""
    path = folder / "journal.jsonl"
    lines = []
    for text in HOSTILE.values():
        more: dict[str, Any] = dict.fromkeys(
            ("task", "error", "traceback", "reason", "detail", "where", "worker"), text
        ) | {"n": 0}
        lines += [
            line(1000, "request_received", text, method=text, path=text),
            line(1001, "task_queued", text, **more),
            line(1002, "response_sent", text, status=200, bytes=2, buffered=0),
            line(1003, "task_started", text, **more),
            line(1004, "task_failed", text, **more),
            line(1005, "request_finished", text, error=text, **cast(dict[str, Any], {text: [text]})),
            line(1006, text, text, boot=text, server=text),
            text.encode("utf-8", "surrogatepass") + b"\n",
            text.encode("latin-1", "replace") + b"\n",
        ]
    path.write_bytes(b"".join(lines))
    return path


@pytest.fixture(params=["lines", "terminal"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the kind of output, and whether Rich treats it as a terminal."""
    if request.param == "terminal":
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    return str(request.param)


def test_nothing_gets_through_report(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = journal(tmp_path).rename(tmp_path / NAME)
    assert report([named], data_folder=tmp_path, last=1000, as_json=False) == 0
    text = capsys.readouterr().out
    assert unescaped_in(text.encode(), kind) == set()
    assert ("\x1b[" in text) is (kind == "terminal")
    assert r"\x1b[2J" in text


def test_json_of_report_is_ascii_and_gives_every_text_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([journal(tmp_path)], data_folder=tmp_path, last=1000, as_json=True)
    written = capsys.readouterr().out
    assert unescaped_in(written.encode(), "ascii") == set()
    assert [request["path"] for request in strict(written)["requests"]] == list(HOSTILE.values())


# Files


@pytest.fixture
def followed(tmp_path: Path) -> list[Path]:
    """Make two files of hostile bytes, one with a hostile name."""
    paths = [tmp_path / NAME, tmp_path / "log.txt"]
    texts = [*HOSTILE.values(), ALL]
    paths[0].write_bytes("\n".join(texts).encode("utf-8", "surrogatepass"))
    paths[1].write_bytes("\n".join(texts).encode("latin-1", "replace"))
    return paths


def test_nothing_gets_through_tail(
    kind: str, followed: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tail(_options(followed, tmp_path)) == 0
    text = capsys.readouterr().out
    assert unescaped_in(text.encode(), kind) == set()
    assert ("\x1b[" in text) is (kind == "terminal")
    assert r"\x1b[2J" in text
    printer = TextPrinter({followed[0]: ALL}, cast(Any, _Closed()))
    printer.notice(Notice(1, followed[0], "refused", ALL))
    assert unescaped_in(capsys.readouterr().err.encode(), "lines") == set()


def _options(followed: list[Path], folder: Path) -> TailOptions:
    journal(folder)
    return TailOptions(folder, tuple(followed), lines=1000, follow=False)


class _Closed:
    """An output that discards everything."""

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def test_json_of_tail_is_ascii(followed: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tail(replace(_options(followed, tmp_path), as_json=True)) == 0
    written = capsys.readouterr().out
    assert unescaped_in(written.encode(), "ascii") == set()
    shown = [strict(line) for line in written.splitlines()]
    assert {entry["file"] for entry in shown if entry["source"] == "file"} == set(map(str, followed))
    assert {entry["request"] for entry in shown if entry.get("request")} == set(HOSTILE.values())


# Messages of fastbg


def test_nothing_gets_through_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(FastbgError(ALL, where=ALL, remedy=ALL, details=list(HOSTILE.values())))
    assert unescaped_in(capsys.readouterr().err.encode(), "lines") == set()


def test_nothing_gets_through_the_faults_of_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quoted = [
        "".join(f"\\U{ord(character):08x}" for character in text.encode("utf-8", "replace").decode())
        for text in [ALL, *HOSTILE.values()]
    ]
    script = [f'"{text}" = "{text}"\n' for text in quoted]
    script += [f'app = "{quoted[0]}"\nfolder = "{quoted[0]}"\nfollow = ["{quoted[0]}"]\n']
    script += [f'[[request]]\n"{text}" = 1\nname = "{text}"\npath = "{text}"\nmethod = "{text}"\n' for text in quoted]
    with pytest.raises(ScriptError) as caught:
        read_script("".join(script), ALL, tmp_path, {})
    report_error(caught.value)
    assert len(caught.value.details) > 3 * len(quoted)
    assert unescaped_in(capsys.readouterr().err.encode(), "lines") == set()


def test_nothing_gets_through_what_serve_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as listener:
        for text in HOSTILE.values():
            greet(ServerSettings(text, tmp_path / text), FastAPI(docs_url=f"/{text}"), listener, BrokerInfo(text))
    written = capsys.readouterr()
    assert unescaped_in(written.out.encode(), "lines") == set()
    assert r"\x1b[2J" in written.out


@pytest.mark.parametrize("colours", [True, False])
def test_nothing_gets_through_a_log_line(colours: bool) -> None:
    try:
        int(ALL)
    except ValueError as caught:
        caught.__cause__ = KeyError(ALL)
        caught.args = (ALL,)
        error = sys.exc_info()
    messages = logs.SafeDefaultFormatter("%(levelprefix)s %(message)s", use_colors=colours)
    accesses = logs.SafeAccessFormatter('%(client_addr)s "%(request_line)s" %(status_code)s', use_colors=colours)
    arguments: list[Any] = [(ALL, 1), ({"name": ALL},), (KeyError(ALL), 2)]
    shown = ""
    for message, values in zip(("%s %d", "%(name)s", "%s %.1f"), arguments, strict=True):
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, message, values, error, sinfo=ALL)
        logging.Formatter().format(record)  # the formatter caches the text of the exception
        shown += messages.format(record) + "\n"
    shown += messages.format(logging.LogRecord("x", logging.ERROR, "x.py", 1, f"two\nlines {ALL}", (), None))
    request = (ALL, ALL, ALL, ALL, 200)
    shown += accesses.format(logging.LogRecord("x", logging.INFO, "x.py", 1, "%s %s %s %s %d", request, None))
    assert unescaped_in(shown.encode(), "terminal" if colours else "lines") == set()
    assert "two\n  lines" in shown
    assert "  Traceback (most recent call last):\n" in shown


class _Stub:
    """A stub of a server that has died, with its output."""

    name = ALL

    def stop_reason(self, timeout_s: float = 0.0) -> str:
        return ALL

    def last_lines(self) -> list[str]:
        return list(HOSTILE.values())


def test_nothing_gets_through_the_section_of_the_pytest_plugin() -> None:
    for texts in batches(list(HOSTILE.values()), 10):
        traces = [made for text in texts for made in (answer(text), failure(text))]
        assert unescaped_in(describe_failure(traces, cast(Server, _Stub())).encode(), "lines") == set()
    error = ServerDied(ALL, where=ALL, remedy=ALL, stderr=list(HOSTILE.values()))
    assert unescaped_in("\n".join(error.lines()).encode(), "lines") == set()


def batches(items: list[str], size: int) -> Iterator[list[str]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]


# The check itself


def test_check_sees_every_hostile_text_that_acts() -> None:
    acting = [name for name in HOSTILE if not unescaped_in(HOSTILE[name].encode("utf-8", "surrogatepass"), "lines")]
    assert acting == list(HOSTILE)[list(HOSTILE).index("markup of Rich") :]
    assert unescaped_in(b"a\x9b2J", "lines") == {"\udc9b"}
    assert unescaped_in(b"fastbg: all is well\n", "lines") == {"\n"}
    assert unescaped_in(b"\x1b[1;31mx\x1b[0m\x1b[2K\x1b[1A\r\n", "terminal") == set()


# Commands with all hostile inputs


def escaped(text: str) -> str:
    """Escape ``text`` for a TOML string. Replace surrogates by valid characters."""
    text = text.encode("utf-8", "replace").decode().replace("${", "$${")
    return "".join(f"\\U{ord(character):08x}" for character in text)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Write a script for `tests.apps.hostile_app` to a file with a hostile name."""
    told = escaped(ALL)
    name = NAME.replace("/", "").removesuffix(".md") + ".toml"
    requests = [
        ("/write?mark=${mark}", 'save = { told = "headers.x-told" }\nexpect.tasks = ["other"]'),
        ("/text", f'expect = {{ body = "{told}", verdict = "no-work" }}'),
        ("/write?mark=${mark}&told=${told}", f'headers = {{ X = "{escaped(HOSTILE["markup of Rich"])}" }}'),
        ("/deep", 'expect.verdict = "no-work"'),
        ("/numbers", 'expect.verdict = "no-work"'),
        ("/fail", ""),
        ("/raise?what=${told}", ""),
        ("/end", ""),
    ]
    text = f'title = "{told}"\nabout = "{told}"\napp = "tests.apps.hostile_app:app"\n'
    text += 'folder = "${dir}"\nfollow = ["log.txt"]\n'
    for number, (asked, more) in enumerate(requests):
        text += f'[[request]]\nname = "{number} {told}"\nabout = "{told}"\npath = "{asked}"\n{more}\n'
        if "/write" in asked:
            text += f'[[request.expect.writes]]\nfile = "log.txt"\ntext = "{told}\\n${{mark}}\\n"\n'
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_nothing_gets_through_demo_on_a_terminal(script: Path, tmp_path: Path) -> None:
    reports = ("--save", "x.svg", "--junit", "x.xml", "--timeout", str(PATIENCE_S))
    demo = terminal(
        "demo", script, *reports, cwd=tmp_path, columns=200, PYTHONPATH=str(ROOT), GITHUB_STEP_SUMMARY="x.md"
    )
    with demo as (process, screen):
        shown = read_rest(screen)
        assert process.wait(PATIENCE_S) == 1
    assert unescaped_in(shown, "terminal") == set()
    assert rb"\x1b]0;title\x07" in shown
    for name in ("x.svg", "x.xml", "x.md"):
        found = unescaped_in((tmp_path / name).read_bytes(), "lines")
        assert found <= ({"\n"} if name == "x.xml" else set())  # the server's lines stay separate lines
    for name in ("x.svg", "x.xml"):
        ET.fromstring((tmp_path / name).read_bytes())


def test_nothing_gets_through_demo_as_json(script: Path, tmp_path: Path) -> None:
    more = ("--json", "--save", "x.html", "--timeout", str(PATIENCE_S))
    result = fastbg("demo", script, *more, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (result.returncode, result.stderr) == (1, b"Saved x.html\n")
    assert unescaped_in(result.stdout, "ascii") == set()
    document = strict(result.stdout.decode())
    assert [request["status"] for request in document["requests"]] == [200] * 6 + [500, None]
    assert json.loads(document["requests"][0]["body"]) == {
        "told": ALL
    }  # shown as text: half of a surrogate pair is not a valid value
    assert [request["body"][:12] for request in document["requests"][3:5]] == ["[" * 12, "[NaN, Infini"]
    assert unescaped_in((tmp_path / "x.html").read_bytes(), "lines") == set()
    assert "<script>" in read_html((tmp_path / "x.html").read_text("utf-8"))[1]


def test_nothing_gets_through_the_log_of_serve(tmp_path: Path) -> None:
    command = [*FASTBG, "serve", "tests.apps.hostile_app:app", "--port", "0", "--dir", str(tmp_path / NAME)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            said = read_until(process.stdout, URL)
            address = re.search(URL, said)
            assert address is not None
            query = {"what": ALL.encode("utf-8", "replace")}
            assert fetch("GET", address[1].decode() + "/raise", params=query).status_code == 500
            said += read_until(process.stdout, b"ValueError")
        finally:
            process.terminate()
        assert process.stdout is not None
        said += process.stdout.read()
    assert unescaped_in(said, "lines") == set()
    assert rb"\x1b]0;title\x07" in said
    assert b"[red]x[/red]" in said
