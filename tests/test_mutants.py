"""The mutants of a source, and the tests that notice them."""

import pytest

from tests.mutants import running
from tests.mutants.__main__ import ModuleReport, describe, unmatched
from tests.mutants.modules import TESTS, known_equivalents
from tests.mutants.mutations import Mutant, choose, mutants_of
from tests.mutants.running import Copies
from tests.support.servers import ROOT

SOURCE = '''"""A module."""
Kind = Literal["a"]

def largest(values: list["int"], least: int = 0) -> bool:
    """Do something."""
    found = f"{least}"
    for value in values:
        if value > least and not found:
            least += value - 1
    return [each for each in values
            if each is not None]
'''


def changes(source: str) -> list[tuple[int, str, str]]:
    return [(mutant.line, mutant.before, mutant.after) for mutant in mutants_of("small", source)]


def test_mutants_differ_from_the_source_in_one_place() -> None:
    condition, added = "if value > least and not found:", "least += value - 1"
    chosen = "return [each for each in values if each is not None]"
    assert changes(SOURCE) == [
        (4, 'def largest(values: list["int"], least: int = 0) -> bool:', SOURCE.splitlines()[3].replace("0", "1")),
        (6, 'found = f"{least}"', "pass"),
        (8, condition, "if True:"),
        (8, condition, "if False:"),
        (8, condition, "if value > least or not found:"),
        (8, condition, "if value >= least and not found:"),
        (8, condition, "if value > least and found:"),
        (9, added, "least -= value - 1"),
        (9, added, "pass"),
        (9, added, "least += value + 1"),
        (9, added, "least += value - 2"),
        (10, chosen, "return None"),
        (11, "if each is not None]", "if True]"),
        (11, "if each is not None]", "if False]"),
        (11, "if each is not None]", "if each is None]"),
    ]


@pytest.mark.parametrize(
    ("line", "mutated"),
    [
        ("x = a if b else 'é' + c", ["x = a if True else 'é' + c", "x = a if False else 'é' + c"]),
        ("while a: b", ["while False: b"]),
        ("x = (a) not in b", ["x = (a) in b"]),
        ("x = a < b <= c", ["x = a <= b <= c", "x = a < b < c"]),
        ("x = a or b or c", ["x = a and b and c"]),
        ("x = True", ["x = False"]),
        ("x = b''", ["x = b'?'"]),
        ("def f(): return a == b", ["def f(): return True", "def f(): return False", "def f(): return a != b"]),
        ("def f(): raise a", ["def f(): pass"]),
    ],
)
def test_each_kind_of_fault_is_made(line: str, mutated: list[str]) -> None:
    found = [after for _, before, after in changes(line + "\n") if before == line]
    assert found[: len(mutated)] == mutated


def test_choice_of_mutants_survives_a_change_elsewhere() -> None:
    mutants = mutants_of("small", SOURCE)
    chosen = choose(mutants, 8, seed=0)
    assert len(chosen) == 8
    assert chosen != choose(mutants, 8, seed=1)
    again = choose(mutants_of("small", "\n\n" + SOURCE), 8, seed=0)
    assert [mutant.key for mutant in again] == [mutant.key for mutant in chosen]


def text_mutant(old: str, new: str) -> Mutant:
    source = (ROOT / "fastbg" / "text.py").read_text("utf-8")
    assert old in source
    return Mutant("text", 30, "_escape", old, new, source.replace(old, new))


def test_mutants_of_a_module_are_noticed_or_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [["tests/test_text.py", "-k", "control"]]
    mutants = [
        text_mutant("code <= 0xFF:", "code < 0:"),
        text_mutant("code = ord(character)", "code = int(ord(character))"),
        text_mutant("code = ord(character)", "code = ord(character) + 0"),
        text_mutant("code = ord(character)", "while True: pass"),
    ]
    with Copies(ROOT, 1) as copies:
        outcomes = list(copies.test("text", groups, mutants[:3]))
        monkeypatch.setattr(running, "PATIENCE", 1)
        outcomes += copies.test("text", groups, mutants[3:])
    assert [outcome.noticed for outcome in outcomes] == ["failed", None, None, "timeout"]
    known = {mutants[1].key: "ord returns an int", ("text", "_escape", "gone", "mutated"): "old"}
    report = ModuleReport("text")
    for outcome in outcomes:
        report.add(outcome, known)
    assert (report.mutants, report.killed, report.share) == (4, 2, 2 / 3)
    assert "\n".join(describe(report, known)).splitlines() == [
        "fastbg/text.py:30 _escape: no test notices",
        "  - code = ord(character)",
        "  + code = ord(character) + 0",
        "fastbg/text.py:30 _escape: equivalent, ord returns an int",
        "  - code = ord(character)",
        "  + code = int(ord(character))",
    ]
    assert unmatched(known, "text", mutants) == [("text", "_escape", "gone", "mutated")]


def test_table_names_modules_and_tests_that_exist() -> None:
    assert {module for module, *_ in known_equivalents()} <= TESTS.keys()
    for module, groups in TESTS.items():
        assert (ROOT / "fastbg" / f"{module}.py").is_file()
        files = [argument for group in groups for argument in group if argument.startswith("tests/")]
        assert [name for name in files if not (ROOT / name).is_file()] == []
