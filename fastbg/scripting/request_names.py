"""The names of requests that have none: method and path, with a number behind a name that is already there. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count


def default_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return ``names`` with a number behind each that is already there, as in "GET / (2)". ``taken``: other names."""
    known = set(taken)
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))  # that no request of this name has
    unique: list[str] = []
    for name in names:
        numbered = (name if number == 1 else f"{name} ({number})" for number in numbers[name])
        unique.append(next(each for each in numbered if each not in known))
        known.add(unique[-1])
    return unique


def with_names(data: object) -> object:
    """Give each request in ``data`` without a name its default name. ``data``: a script or a part, unchecked."""
    requests = data.get("request") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(requests, list):
        return data
    tables = [each for each in requests if isinstance(each, Mapping)]
    given = [name for each in tables if isinstance(name := each.get("name"), str)]
    unnamed = (f"{each.get('method', 'GET')} {each.get('path')}" for each in tables if "name" not in each)
    names = iter(default_names(unnamed, given))
    return {**data, "request": [each if _is_named(each) else {"name": next(names), **each} for each in requests]}


def _is_named(request: object) -> bool:
    return not isinstance(request, Mapping) or "name" in request
