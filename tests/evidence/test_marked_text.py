"""Finding the text of a request in a file, with its id in either form."""

import re

from hypothesis import given
from hypothesis import strategies as st

from fastbg.evidence.marked_text import MarkedText
from fastbg.recorder.request_ids import in_both_forms, uuid_of

ID, OTHER = "a1b2c3-07", "a1b2c3-071"
UUID = uuid_of(ID) or ""
WORDS = st.lists(st.sampled_from([ID, UUID, OTHER, "a", "ä\n", ".*", "-"]), max_size=8).map("".join)


def found(text: str, data: str) -> list[bytes]:
    content = bytearray(data.encode())
    return [bytes(content[begin:end]) for begin, end in MarkedText(text, ID).find_in(content, 0, len(content))]


def test_each_id_in_a_text_may_have_either_form() -> None:
    assert found(f"{ID} to {ID}\n", f"{UUID} to {ID}\n{ID} to {UUID}\n{ID} to {OTHER}\n") == [
        f"{UUID} to {ID}\n".encode(),
        f"{ID} to {UUID}\n".encode(),
    ]


def test_text_is_found_only_between_the_limits() -> None:
    data = bytearray(b"done\ndone\ndone\n")
    assert list(MarkedText("done\n", ID).find_in(data, 1, 14)) == [(5, 10)]


def test_longest_form_is_the_one_with_the_uuid() -> None:
    assert MarkedText(f"{ID}: {ID}", ID).max_bytes == len(f"{UUID}: {UUID}")
    assert MarkedText("ä", "an id of somebody else").max_bytes == 2


@given(WORDS, WORDS)
def test_what_is_found_is_what_a_pattern_finds(text: str, data: str) -> None:
    pattern = re.compile(in_both_forms(re.escape(text), ID).encode())
    assert found(text, data) == [match[0] for match in pattern.finditer(data.encode())]
