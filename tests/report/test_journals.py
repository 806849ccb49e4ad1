"""The names of several journals in a report."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastbg.report.journals import cut_middle, short_names


@pytest.mark.parametrize(
    ("paths", "short"),
    [
        (["pod1/journal.jsonl", "pod2/journal.jsonl"], ["pod1", "pod2"]),
        (["/var/a/.fastbg/journal.jsonl", "/var/b/.fastbg/journal.jsonl"], ["a", "b"]),
        (["a.jsonl", "b.jsonl"], ["a.jsonl", "b.jsonl"]),
        (["pod1/journal.jsonl", "pod1/old/journal.jsonl"], ["journal.jsonl", "old/journal.jsonl"]),
        (["standard input", "pod1/journal.jsonl"], ["standard input", "pod1/journal.jsonl"]),
        (["/journal.jsonl", "/a/journal.jsonl"], ["/journal.jsonl", "/a/journal.jsonl"]),
        (["a/journal.jsonl"], ["journal.jsonl"]),
        ([], []),
    ],
)
def test_short_names_are_what_differs(paths: list[str], short: list[str]) -> None:
    assert short_names(paths) == short


@given(st.lists(st.text(alphabet="ab/.", min_size=1, max_size=8), min_size=2, max_size=4))
def test_short_names_of_any_paths_are_not_empty(paths: list[str]) -> None:
    names = short_names(paths)
    assert len(names) == len(paths)
    assert all(names)


@given(st.text(), st.integers(min_value=3, max_value=30))
@example("…000", 3)
def test_cut_name_keeps_its_start_and_its_end(text: str, width: int) -> None:
    cut = cut_middle(text, width)
    assert len(cut) <= width
    places = [at for at, character in enumerate(cut) if character == "…"]  # also those of the text
    assert cut == text or any(text.startswith(cut[:at]) and text.endswith(cut[at + 1 :]) for at in places)
