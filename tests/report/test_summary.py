"""Short results: one line, and the Markdown summary of a GitHub job."""

import html
import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fastbg.evidence.trace import ReceivedBody, Trace
from fastbg.report.summary import MAX_ROWS, append_summary, markdown, one_line
from fastbg.text import escape_control
from tests.support.processes import fastbg
from tests.support.results import background, foreground, in_milliseconds, run, runs
from tests.support.traces import expecting, finished, requested, task, trace

WORK = ("--work", "0")


def tokens(content: str) -> list[Token]:
    return MarkdownIt("gfm-like", {"linkify": False}).parse(content)


def rows(content: str) -> list[list[str]]:
    """Return the text of the table's cells. Fails if a cell has anything but plain text."""
    found: list[list[str]] = []
    cells = False
    for token in tokens(content):
        if token.type == "tr_open":
            found.append([])
        cells = token.type in ("td_open", "th_open") or (cells and token.type == "inline")
        if token.type == "inline" and cells:
            children = token.children or []
            assert {child.type for child in children} <= {"text", "text_special"}
            found[-1].append("".join(child.content for child in children))
            cells = False
    return found


def unmet(made: Trace) -> Trace:
    expecting(made, verdict="work-first")
    return made


def test_one_line_says_ok_and_counts_the_verdicts() -> None:
    assert one_line(runs()) == "ok: 2 requests, 1 response-first, 1 work-first"
    assert one_line(runs(background())) == "ok: 1 request, 1 response-first"
    assert (
        one_line(runs(unmet(background()), foreground()))
        == "not ok: 2 requests, 1 response-first, 1 work-first, 1 not as expected"
    )
    assert one_line(runs(stopped="it\nended")) == r"not ok: 2 requests, 1 response-first, 1 work-first, it\nended"


def test_summary_has_a_table_with_the_verdicts() -> None:
    assert rows(markdown(run())) == [
        ["request", "status", "response, ms", "write, ms", "lead, ms", "verdict", "evidence"],
        ["notification", "200", "2.0", "502", "500", "response-first", "client+file, server"],
        ["control", "200", "501", "499", "-2.0", "work-first (expected)", "file+server"],
    ]
    assert markdown(run()).startswith("### fastbg: ok: 2 requests")
    assert "1 response-first, 1 work-first. The clients waited 2.0 to 501 ms" in markdown(run())


def test_summary_tells_what_was_not_as_expected() -> None:
    content = markdown(run(unmet(background()), stopped="the server ended", remarks=("look here",)))
    assert rows(content)[1][5] == "✗ response-first"
    assert "- **notification**: verdict: expected work-first, was response-first\n" in content
    assert "- the server ended\n" in content
    assert "- look here\n" in content


def test_summary_has_the_time_lines_as_they_are() -> None:
    (block,) = re.findall(r"<pre>(.*)</pre>", markdown(run()), re.DOTALL)
    assert html.unescape(block).splitlines()[0].startswith("notification       ●┄┄┄")


@pytest.mark.parametrize(
    "name",
    ["a|b", "`x`", "**x**", "<b>x</b>", "</pre><script>", "[x](http://y)", "http://x.y", "www.x.y", "@me", "#1", "&lt;",
     "\\|", "_x_", "~~x~~", "$x$", "line\nline", "\x1b[31m", "```", "<!--", "| --- |", "a\r\n\r\n# b"],
)  # fmt: skip
def test_text_from_outside_is_no_markup(name: str) -> None:
    made = unmet(background())
    requested(made, name=name)
    content = markdown(run(made))
    assert rows(content)[1][0] == escape_control(name)
    kinds = {token.type for token in tokens(content)} - {"inline"}
    assert kinds == {token.type for token in tokens(markdown(run(unmet(background()))))} - {"inline"}
    for link in ("http://", "www.", "@me", "#1"):
        assert link not in re.sub(r"<pre>.*</pre>|&#[0-9]+;", "", content, flags=re.DOTALL)


@given(text=st.text(st.characters(codec=None), min_size=1, max_size=60))
def test_table_keeps_its_shape_whatever_it_is_made_of(text: str) -> None:
    made = in_milliseconds(finished(task(trace(), 1010, "task_failed", error=text, reason=text)))
    requested(made, name=text)
    content = markdown(run(made, foreground(), stopped=text, remarks=(text,)))
    content.encode()
    found = rows(content)
    assert [len(row) for row in found] == [7, 7, 7]
    assert found[1][0].split() == escape_control(text).split()
    assert found[2][0] == "control"


def test_summary_of_a_long_run_stays_below_what_github_takes() -> None:
    made = unmet(background())
    made.body = ReceivedBody("`" * 10_000)
    expecting(made, verdict="work-first", body="no")
    requests = [requested(background(), name=f"n{n}") for n in range(MAX_ROWS)]
    requests += [requested(replace(made), name="`" * 10_000 + str(n)) for n in range(MAX_ROWS)]
    content = markdown(run(*requests, remarks=("`" * 10_000,), stopped="`" * 10_000))
    assert len(content.encode()) < 2**20
    shown = [line.split(" | ") for line in content.splitlines() if line.startswith("| &#96;")]
    assert len(shown) == MAX_ROWS
    assert {(len(row), row[5]) for row in shown} == {(7, "✗ response-first")}
    assert f"{MAX_ROWS} more requests are not shown" in content


def test_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("another step's, without an end")
    append_summary(runs(), path)
    append_summary(runs(), path)
    content = path.read_text("utf-8")
    assert content.startswith("another step's, without an end\n### fastbg")
    assert content.count("\n### fastbg") == 2


# by the demo


def test_quiet_prints_one_line_and_the_failures(tmp_path: Path) -> None:
    result = fastbg("demo", "--quiet", *WORK, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == b"ok: 7 requests, 5 response-first, 1 work-first, 1 no-work\n"
    (tmp_path / ".fastbg" / "README.md").unlink()
    (tmp_path / ".fastbg" / "README.md").symlink_to("missing/README.md")
    result = fastbg("demo", "--quiet", *WORK, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, b"")
    *failures, line = result.stdout.decode().splitlines()
    assert line.startswith("not ok: 7 requests, 2 response-first, 1 no-work, 3 failed")
    assert re.fullmatch(
        r"default\.toml:\d+: path operation: verdict: expected response-first, was failed \(server\)", failures[0]
    )


@pytest.mark.parametrize("other", ["--json", "--step"])
def test_quiet_is_refused_together_with_what_prints_more(tmp_path: Path, other: str) -> None:
    result = fastbg("demo", "--quiet", other, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert f"where: --quiet {other}".encode() in result.stderr


def test_demo_appends_its_summary_where_github_says(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("# before\n")
    result = fastbg("demo", *WORK, "--json", cwd=tmp_path, GITHUB_STEP_SUMMARY=str(path))
    assert (result.returncode, result.stderr) == (0, b"")
    content = path.read_text("utf-8")
    assert content.startswith("# before\n\n### fastbg: ok: 7 requests")
    assert len(rows(content)) == 8


def test_empty_variable_asks_for_no_summary(tmp_path: Path) -> None:
    assert fastbg("demo", *WORK, "--quiet", cwd=tmp_path, GITHUB_STEP_SUMMARY="").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [".fastbg"]


def test_summary_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    result = fastbg("demo", cwd=tmp_path, GITHUB_STEP_SUMMARY="no/such/file")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"the summary for GitHub cannot be written: the folder" in result.stderr
    assert b"where: GITHUB_STEP_SUMMARY=no/such/file" in result.stderr
    assert not (tmp_path / ".fastbg").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_summary_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.touch()
    path.chmod(stat.S_IRUSR)
    result = fastbg("demo", cwd=tmp_path, GITHUB_STEP_SUMMARY=str(path))
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"no permission" in result.stderr


def test_summary_that_cannot_be_written_is_told_and_ends_with_2(tmp_path: Path) -> None:
    result = fastbg("demo", *WORK, "--quiet", cwd=tmp_path, GITHUB_STEP_SUMMARY="/dev/full")
    assert result.returncode == 2
    assert result.stdout.startswith(b"ok: 7 requests")
    assert b"the summary for GitHub cannot be written: No space left on device" in result.stderr
    assert b"fix: choose another file" in result.stderr
