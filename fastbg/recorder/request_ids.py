"""The ids of the requests that fastbg's clients send: how they are sent, and how they are found in texts. Pure.

Such an id is ``a1b2c3-07``: six hex digits of a run of `fastbg demo` or of a test, and the number of the request. The
recorder takes it from `HEADER`. Many apps accept only a UUID as ``X-Request-ID``, and write that one to their logs. So
by default it is the id in the form of a UUID (version 4): ``a1b2c302-0000-4000-8000-000000000007``. The two digits
after the run are the length of the number.
"""

import re
import secrets
from collections.abc import MutableMapping

HEADER = "X-Fastbg-Request-ID"

_ID = re.compile(r"([0-9a-f]{6})-([0-9]{1,12})")
_UUID = re.compile(r"([0-9a-f]{6})(0[1-9]|1[0-2])-0000-4000-8000-([0-9]{12})")
RUN_TEXTS = 16**10  # the number of different texts
_LETTERS = str.maketrans("0123456789abcdef", "ghjklmnpqrstvwxz")

_PROBE = re.compile(r"[0-9a-f]{6}-probe[0-9]+")


def new_run() -> str:
    return secrets.token_hex(3)


def run_text(seed: int, repetition: int) -> str:
    """Return the text that the requests of a repetition share. ``seed``: a random number, once per run.

    It has ten letters that are no hex digits: in ``user-kqzmthwpgg-1`` nobody finds the id of a request.
    """
    return f"{(seed + repetition) % RUN_TEXTS:010x}".translate(_LETTERS)


def id_of_request(run: str, number: int, digits: int = 1) -> str:
    """Return the id of a request. ``digits``: the least length of the number."""
    return f"{run}-{number:0{digits}}"


def id_of_probe(run: str, number: int) -> str:
    """Return the id of a probe, which `fastbg demo` sends to check a server."""
    return f"{run}-probe{number}"


def is_probe(request_id: str | None) -> bool:
    return request_id is not None and _PROBE.fullmatch(request_id) is not None


def uuid_of(request_id: str) -> str | None:
    """Return an id of `id_of_request` as a UUID, None for any other id."""
    match = _ID.fullmatch(request_id)
    return match and f"{match[1]}{len(match[2]):02}-0000-4000-8000-{match[2]:>012}"


def add_ids(headers: MutableMapping[str, str], request_id: str) -> None:
    """Add the id to the headers of a request. A ``X-Request-ID`` of the user's stays as it is."""
    headers[HEADER] = request_id
    if uuid := uuid_of(request_id):
        headers.setdefault("X-Request-ID", uuid)


def pattern_of_ids(run: str = "[0-9a-f]{6}") -> str:
    """Return a regular expression for the ids of a run, in both forms. By default for those of every run."""
    return rf"{run}[0-9]{{2}}-0000-4000-8000-[0-9]{{12}}|{run}-[0-9]{{1,12}}"


_IDS = re.compile(pattern_of_ids())


def id_of(found: str) -> str:
    """Return the id that a match of `pattern_of_ids` stands for."""
    match = _UUID.fullmatch(found)
    return f"{match[1]}-{match[3][-int(match[2]) :]}" if match else found


def ids_in(text: str) -> list[str]:
    """Return the ids in ``text``, also those in the form of a UUID."""
    return [id_of(found) for found in _IDS.findall(text)]


def without_uuids(text: str) -> str:
    """Return ``text`` with each id in its short form."""
    return _IDS.sub(lambda match: id_of(match[0]), text)


def in_both_forms(pattern: str, request_id: str) -> str:
    """Return the regular expression ``pattern`` with the id in either form, wherever it has the short one."""
    short, uuid = re.escape(request_id), uuid_of(request_id)
    return pattern.replace(short, f"(?:{short}|{re.escape(uuid)})") if uuid else pattern
