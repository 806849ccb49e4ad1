"""What a script concludes: the placeholders of `moral`, and their measured values."""

from pathlib import Path
from typing import Any

import pytest

from fastbg.errors import ScriptError
from fastbg.evidence.trace import Trace
from fastbg.report.console import final
from fastbg.report.document import document
from fastbg.report.moral import moral
from fastbg.report.summary import markdown
from fastbg.scripting.reader import read_script
from tests.report.test_console import shown
from tests.support.results import background, foreground, run, runs
from tests.support.traces import expecting, requested


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("waited ${notification | response}", "waited 2.0 ms"),
        ("seen ${notification | write}, ${notification | lead} later", "seen 502 ms, 500 ms later"),
        ("${notification|task} of ${ notification |  done }", "497 ms of 500 ms"),
        ("${notification | blocked}", "0.0 ms"),
        ("${response-first | response} and ${work-first | response}", "2.0 ms and 501 ms"),
        ("${response-first | count} of ${notification | count}", "1 of 1"),
        ("two\nlines", "two lines"),
        ("no ${notification | waited}", None),
        ("no ${missing | response}", None),
        ("no ${lost | count}", None),
        ("", None),
    ],
)
def test_measured_values_are_filled_in(template: str, text: str | None) -> None:
    assert moral(run(moral=template)) == text


def test_several_values_become_a_range() -> None:
    other = requested(foreground(), name="notification", request_id="r2")
    assert moral(run(background(), other, moral="${notification | response}")) == "2.0 to 501 ms"


def test_part_tells_requests_of_one_name_apart() -> None:
    def of(part: str, made: Trace) -> Trace:
        return requested(made, name="register", part=part, request_id=part)

    both = run(of("trap", foreground()), of("remedy", background()), moral="${trap: register | response}")
    assert moral(both) == "501 ms"


def test_moral_is_only_told_if_all_was_as_expected() -> None:
    assert moral(run(expecting(background(), verdict="work-first"), moral="it waited")) is None
    assert moral(run(moral="it waited", stopped="the server ended")) is None


def test_report_ends_with_the_picture_and_the_moral() -> None:
    text = shown(final(run(moral="waited ${control | response}"), encoding="utf-8"))
    assert text.rstrip().endswith("waited 501 ms")
    assert text.index("Evidence in") < text.index("ms since sent") < text.rindex("waited 501 ms")
    without = shown(final(run(), encoding="utf-8"))
    assert " ".join(without.split()).endswith("The first expected write was seen 500 ms after the response.")


def test_document_and_summary_have_the_moral() -> None:
    assert document(runs(moral="waited ${control | response}"))["moral"] == "waited 501 ms"
    assert document(runs())["moral"] is None
    assert "\n**waited 501 ms**\n" in markdown(run(moral="waited ${control | response}"))


HEAD = 'app = "shop:app"\n'
REQUEST = '[[request]]\nname = "a"\npath = "/"\n[[request]]\npath = "/b"\n'
PARTS = "".join(f'[[part]]\nname = "{part}"\n[[part.request]]\nname = "a"\npath = "/"\n' for part in ("x", "y"))


@pytest.mark.parametrize(
    ("moral", "rest", "fault"),
    [
        ("${a | speed}", REQUEST, "needs a measured value: write it as ${NAME | response or write"),
        ("${a}", REQUEST, "needs a measured value"),
        ("${b | response}", REQUEST, "no request is called 'b'"),
        ("${ab | response}", REQUEST, "no request is called 'ab'; did you mean a?"),
        ("${a | response}", PARTS, "several parts have a request 'a': write x: a or y: a"),
        ("${a | response", REQUEST, "has a ${ without a }"),
    ],
)
def test_wrong_placeholder_is_a_fault_with_its_line(moral: str, rest: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ScriptError) as caught:
        read_script(f'{HEAD}moral = "{moral}"\n{rest}', "s.toml", tmp_path, {})
    (line,) = caught.value.details
    assert line.startswith("s.toml:2: moral: ")
    assert fault in line


@pytest.mark.parametrize(
    ("moral", "rest"),
    [("${a | response}", REQUEST), ("${GET /b | count}", REQUEST), ("${y: a | lead}", PARTS), ("$${a}", PARTS)],
)
def test_right_placeholder_is_no_fault(moral: str, rest: str, tmp_path: Path) -> None:
    source: Any = read_script(f'{HEAD}moral = "{moral}"\n{rest}', "s.toml", tmp_path, {})
    assert source.script.moral == moral
