"""JSON from outside: valid JSON is read, and extensions of Python are rejected."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbg.strict_json import MAX_DEPTH, is_deeper, loads

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@given(values)
def test_json_is_read_as_it_was_written(value: object) -> None:
    assert loads(f" {json.dumps(value)}\r\n".encode()) == value


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"1 2", b"NaN", b"[-Infinity]", b"[1e999]", b"\xff", b"\xa0", b"9" * 5000, b"[" * 30_000]
    + [rb'"\ud800"', rb'{"\uDFFF": 1}']
    + [b"[" * depth + b"1" + b"]" * depth for depth in (MAX_DEPTH + 2, 900, 30_000)],
    ids=lambda data: repr(data[:9]),
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # as of json
        loads(data)


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = loads(data)
    except ValueError:
        return
    json.dumps(value, allow_nan=False)


def test_levels_are_counted() -> None:
    assert [is_deeper(value, 2) for value in (1, [1], [{"a": 1}], [{"a": [1]}], [[], [[[]]], [[[1]]]])] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
