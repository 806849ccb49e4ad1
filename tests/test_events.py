"""The shared event types."""

from fastbg.events import boot_id


def test_boot_id_is_the_same_in_one_boot() -> None:
    assert boot_id() == boot_id() != ""
