"""The JUnit report: always valid against the published schema, and readable in viewers."""

import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from fastbg.errors import FastbgError
from fastbg.evidence.results import RunResult
from fastbg.evidence.trace import ExpectedWrite, ReceivedBody
from fastbg.report.junit import junit, save_junit
from tests.support.documentation import page, section
from tests.support.processes import fastbg
from tests.support.results import background, foreground, in_milliseconds, run, runs
from tests.support.traces import LOG, expecting, finished, requested, sent, task, trace, wrote

WORK = ("--work", "0")


@cache
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(Path(__file__).parent / "junit.xsd")


def parsed(content: str) -> ET.Element:
    """Parse and validate a document. Return its root."""
    root = ET.fromstring(content.encode())
    schema().validate(root)
    return root


def cases(result: RunResult) -> dict[str, ET.Element]:
    return {case.attrib["name"]: case for case in parsed(junit([result])).iter("testcase")}


def sums(root: ET.Element) -> tuple[str, ...]:
    return tuple(root.attrib[name] for name in ("tests", "failures", "errors", "time"))


def test_request_is_a_test_case_with_its_evidence() -> None:
    root = parsed(junit(runs()))
    assert sums(root) == sums(root[0]) == ("2", "0", "0", "1.003000")
    assert {found.attrib["name"]: found.attrib["value"] for found in root.iter("property")}["fastapi"] == "1"
    first, second = root.iter("testcase")
    assert first.attrib == {"classname": "shop:app", "name": "notification", "time": "0.502000"}
    assert (second.attrib["name"], second.attrib["time"]) == ("control", "0.501000")
    assert not list(root.iter("failure"))
    told = first.findtext("system-out") or ""
    assert told.splitlines()[:6] == [
        "POST http://127.0.0.1/",
        "verdict: response-first, expected: response-first",
        "evidence: client+file, server",
        "status: 200, response: 2.0 ms",
        "task app.write_log: finished, thread, 3.0 ms to 500 ms",
        r"write to log.txt: 502 ms, message\n",
    ]
    assert "notification       ●┄┄┄" in told
    assert "\x1b" not in told


def test_unmet_expectation_is_a_failure_with_both_values() -> None:
    made = background()
    expecting(made, verdict="work-first")
    result = run(made, foreground())
    assert sums(parsed(junit([result])))[:3] == ("2", "1", "0")
    failure = cases(result)["notification"].find("failure")
    assert failure is not None
    assert failure.attrib == {
        "type": "response-first",
        "message": "verdict: expected work-first, was response-first (client+file and server)",
    }
    text = failure.text or ""
    assert text.splitlines()[0] == "verdict: expected work-first, was response-first (client+file and server)"
    assert "●┄┄┄" in text
    assert "◆" in text
    assert cases(result)["control"].find("failure") is None


def test_what_went_wrong_is_there_to_be_read() -> None:
    unproven = in_milliseconds(finished(task(sent(trace(writes=0), 1500, size=100, buffered=9), 1600)))
    lost = in_milliseconds(task(sent(trace(), 1500, size=100), 1600, None))
    failed = in_milliseconds(finished(task(trace(), 1010, "task_failed", error="ValueError: no")))
    for number, made in enumerate((unproven, lost, failed)):
        requested(made, name=str(number))
    found = cases(run(unproven, lost, failed))
    kinds = {name: case.find("failure") for name, case in found.items()}
    assert [kind is not None and kind.attrib["type"] for kind in kinds.values()] == ["unproven", "lost", "failed"]
    assert "verdict: lost" in (found["1"].findtext("system-out") or "")
    assert "started, never finished" in (found["1"].findtext("failure") or "")
    assert "ValueError: no" in (found["2"].findtext("failure") or "")


def test_server_that_died_is_an_error_of_its_own() -> None:
    result = run(stopped="the server ended with exit code 7", stderr=("Boom", "last words"))
    root = parsed(junit([result]))
    assert sums(root)[:3] == ("3", "0", "1")
    error = cases(result)["server"].find("error")
    assert error is not None
    assert error.attrib["message"] == "the server ended with exit code 7"
    assert (error.text or "").splitlines()[1:] == ["Boom", "last words"]


def test_cases_of_one_name_are_told_apart() -> None:
    first = requested(background(), name="trap: mail")
    second = requested(background(), name="mail", part="trap")
    assert list(cases(run(first, second))) == ["trap: mail", "trap: mail (2)"]


def test_several_runs_are_a_suite_each_in_one_valid_report() -> None:
    made = background()
    expecting(made, verdict="work-first")
    root = parsed(junit([run(name="one"), run(made, name="two")]))
    assert [suite.attrib["name"] for suite in root] == ["fastbg demo one", "fastbg demo two"]
    assert sums(root)[:3] == ("3", "1", "0")


def test_repeated_request_is_one_case_with_one_failure() -> None:
    failing = expecting(background(), verdict="work-first")
    result = run(background(), failing, background())
    assert sums(parsed(junit([result])))[:3] == ("1", "1", "0")
    case = cases(result)["notification, 3 times"]
    assert (case.findtext("failure") or "").splitlines()[0] == "1 of 3 requests were not as expected, this one included"
    told = (case.findtext("system-out") or "").splitlines()
    assert told[0] == "3 requests: 3 response-first"
    assert "lead: p50 500 ms, p95 500 ms, p99 500 ms, max 500 ms" in told


@given(text=st.text(st.characters(codec=None), max_size=40))
def test_report_is_valid_whatever_it_is_made_of(text: str) -> None:
    made = in_milliseconds(finished(task(trace(), 1010, "task_failed", error=text, reason=text)))
    made.body = ReceivedBody(text)
    expecting(requested(made, name=text, url=text), writes=(*made.expected.writes, ExpectedWrite(LOG, text, True)))
    wrote(made, 1_100_000_000, offset=100, n=0)
    parsed(junit(runs(made, server=text, stopped=text, stderr=(text, text))))


@pytest.mark.parametrize("text", ["\x00", "\x1b[2J", "\ufffe", "\uffff", "\ud800", "]]>", "<&\"'", "\u202e"])
def test_text_that_xml_cannot_hold_is_shown_as_an_escape(text: str) -> None:
    made = requested(background(), name=f"a{text}b")
    (name,) = cases(run(made))
    assert name == f"a{text}b" or (name.startswith("a\\") and name.endswith("b"))
    assert name.isprintable()


def test_report_that_cannot_be_written_is_told() -> None:
    with pytest.raises(FastbgError, match="the JUnit report cannot be written: No space left"):
        save_junit(runs(), Path("/dev/full"))


def test_demo_writes_a_valid_report_beside_what_it_shows(tmp_path: Path) -> None:
    result = fastbg("demo", *WORK, "--junit", "report.xml", "--json", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"Saved report.xml\n")
    assert result.stdout.startswith(b"{")
    root = parsed((tmp_path / "report.xml").read_text("utf-8"))
    assert sums(root)[:3] == ("7", "0", "0")


def test_report_of_a_failed_demo_is_written_too(tmp_path: Path) -> None:
    (tmp_path / ".fastbg").mkdir()
    (tmp_path / ".fastbg" / "README.md").symlink_to("missing/README.md")
    result = fastbg("demo", *WORK, "--junit", "report.xml", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, b"Saved report.xml\n")
    root = parsed((tmp_path / "report.xml").read_text("utf-8"))
    failures = [case.attrib["name"] for case in root.iter("testcase") if case.find("failure") is not None]
    assert failures == ["path operation", "dependency", "sub-dependency", "control"]


def test_command_for_ci_works_as_documented(tmp_path: Path) -> None:
    found = re.search(r"```sh\nfastbg (.*--junit (\S+).*)\n```", section(page("scripts"), "CI"))
    assert found is not None
    result = fastbg(*found[1].split(), cwd=tmp_path, GITHUB_STEP_SUMMARY="summary.md", FASTBG_WORK="0")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.count(b"\n") == 1
    assert sums(parsed((tmp_path / found[2]).read_text("utf-8")))[:3] == ("7", "0", "0")
    assert "| verdict |" in (tmp_path / "summary.md").read_text("utf-8")


@pytest.mark.parametrize("place", ["no/such/report.xml", "."])
def test_place_that_is_none_is_refused_before_anything_starts(tmp_path: Path, place: str) -> None:
    result = fastbg("demo", "--junit", place, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"the JUnit report cannot be written: " in result.stderr
    assert f"where: --junit {place}".encode() in result.stderr
    assert not (tmp_path / ".fastbg").exists()


def test_unwritable_report_exits_2_and_others_are_written(tmp_path: Path) -> None:
    result = fastbg("demo", *WORK, "--quiet", "--junit", "/dev/full", cwd=tmp_path, GITHUB_STEP_SUMMARY="summary.md")
    assert result.returncode == 2
    assert b"the JUnit report cannot be written: No space left on device" in result.stderr
    assert b"### fastbg" in (tmp_path / "summary.md").read_bytes()
