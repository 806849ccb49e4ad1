"""The ids of the requests that fastbg's clients send, as text and as UUIDs."""

import re
import uuid

import pytest

from fastbg.recorder.request_ids import (
    RUN_TEXTS,
    add_ids,
    id_of,
    id_of_probe,
    id_of_request,
    ids_in,
    in_both_forms,
    is_probe,
    new_run,
    pattern_of_ids,
    run_text,
    uuid_of,
    without_uuids,
)

ID, UUID = "a1b2c3-07", "a1b2c302-0000-4000-8000-000000000007"


@pytest.mark.parametrize(("number", "digits"), [(1, 1), (7, 2), (42, 5), (10**12 - 1, 1)])
def test_id_and_its_uuid_stand_for_each_other(number: int, digits: int) -> None:
    request_id = id_of_request(new_run(), number, digits)
    found = uuid_of(request_id)
    assert found is not None
    parsed = uuid.UUID(found)
    assert (str(parsed), parsed.version, parsed.variant) == (found, 4, uuid.RFC_4122)
    assert id_of(found) == id_of(request_id) == request_id
    assert ids_in(f"order {found} and {request_id}.") == [request_id, request_id]


def test_ids_with_leading_zeros_have_different_uuids() -> None:
    assert len({uuid_of(f"a1b2c3-{number}") for number in ("7", "07", "007")}) == 3


@pytest.mark.parametrize("other", ["", "r1", "a1b2c3-", "A1B2C3-1", "a1b2c3-1234567890123", id_of_probe("a1b2c3", 1)])
def test_any_other_id_has_no_uuid(other: str) -> None:
    assert uuid_of(other) is None
    assert in_both_forms(re.escape(other), other) == re.escape(other)


def test_a_uuid_contains_no_other_id() -> None:
    assert ids_in(UUID) == [ID]
    assert re.findall(pattern_of_ids("a1b2c3"), f"{UUID} {ID} d4e5f6-1") == [UUID, ID]
    assert without_uuids(f"{UUID} {ID} {uuid.UUID(int=7)}") == f"{ID} {ID} {uuid.UUID(int=7)}"


def test_a_pattern_matches_the_id_in_either_form() -> None:
    pattern = re.compile(in_both_forms(re.escape(f"{ID}: to {ID}@x\n"), ID))
    for first in (ID, UUID):
        for second in (ID, UUID):
            assert pattern.fullmatch(f"{first}: to {second}@x\n")
    assert not pattern.fullmatch(f"{ID}: to a1b2c3-08@x\n")


def test_headers_have_the_id_and_keep_the_users_own() -> None:
    headers: dict[str, str] = {}
    own = {"X-Request-ID": "mine"}
    add_ids(headers, ID)
    add_ids(own, ID)
    assert headers == {"X-Fastbg-Request-ID": ID, "X-Request-ID": UUID}
    assert own == {"X-Fastbg-Request-ID": ID, "X-Request-ID": "mine"}


def test_only_probes_are_probes() -> None:
    assert is_probe(id_of_probe(new_run(), 12))
    assert not any(map(is_probe, (None, ID, UUID, "probe", "x-probe1")))


@pytest.mark.parametrize("seed", [0, 1, RUN_TEXTS - 2])
def test_text_of_a_run_differs_by_repetition_and_is_no_id(seed: int) -> None:
    texts = [run_text(seed, repetition) for repetition in range(1000)]
    assert len(set(texts)) == 1000
    assert all(re.fullmatch("[g-z]{10}", text) for text in texts)
    assert ids_in(" ".join(f"{text}-1 {text}02-0000-4000-8000-000000000007" for text in texts)) == []
