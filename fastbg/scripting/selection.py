"""Selects the requests of a script to run: one part, or requests by name, with the requests that they need. Pure."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from fastbg.errors import FastbgError, ScriptError
from fastbg.scripting.faults import describe_value
from fastbg.scripting.model import Request, Script
from fastbg.scripting.reader import Source
from fastbg.scripting.toml_lines import keep_items
from fastbg.text import did_you_mean

Place = tuple[int, int]  # the number of a part, and the number of a request in it


def places(script: Script) -> dict[Place, Request]:
    """Return all requests with their places, in their order."""
    return {
        (part_number, number): request
        for part_number, part in enumerate(script.all_parts)
        for number, request in enumerate(part.requests)
    }


def only_part(source: Source, name: str) -> Source:
    """Return ``source`` with only the part ``name``, and with the requests that it needs. Raises `ScriptError`."""
    parts = [part.name for part in source.script.parts]
    if not parts:
        raise ScriptError(
            "the script has no parts",
            where=f"{source.label}:{name}",
            remedy=f"leave out :{name}, or name a request with --only",
        )
    if name not in parts:
        raise ScriptError(
            f"unknown part {name!r}{did_you_mean(name, parts)}",
            where=f"{source.label}:{name}",
            remedy=f"choose one of {', '.join(map(describe_value, parts))}",
        )
    return replace(_select(source, [place for place in places(source.script) if parts[place[0]] == name]), part=name)


def only_requests(sources: Sequence[Source], names: Sequence[str]) -> list[Source]:
    """Return ``sources`` with only the requests ``names``, each as NAME or PART: NAME, and with those that they need.

    Scripts without such a request are left out. Raises `FastbgError` for a name that no script has.
    """
    spellings = [{place: _spellings(source.script, place) for place in places(source.script)} for source in sources]
    known = [spelling for script in spellings for each in script.values() for spelling in each]
    for name in names:
        if name not in known:
            raise FastbgError(
                f"no request has the name {name!r}{did_you_mean(name, known)}",
                where=f"--only {name}",
                remedy="choose one of these names",
                details=list(dict.fromkeys(each[-1] for script in spellings for each in script.values())),
            )
    selected = []
    for source, script in zip(sources, spellings, strict=True):
        if named := [place for place, spelled in script.items() if any(name in names for name in spelled)]:
            remark = f"selected {len(named)} of {len(script)} requests"
            selected.append(_select(replace(source, remarks=(*source.remarks, remark)), named))
    return selected


def _spellings(script: Script, place: Place) -> tuple[str, ...]:
    """Return the names under which a request can be selected, the exact one last."""
    part = script.all_parts[place[0]]
    name = part.requests[place[1]].name
    return (name, f"{part.name}: {name}") if part.name else (name,)


def _select(source: Source, selected: Collection[Place]) -> Source:
    """Keep the requests ``selected`` and those that they need. A remark names the latter."""
    requests = places(source.script)
    kept = _with_needed(requests, selected)
    if needed := [describe_value(requests[place].name) for place in sorted(kept - {*selected})]:
        remark = f"sent as well, because a selected request needs it: {', '.join(dict.fromkeys(needed))}"
        source = replace(source, remarks=(*source.remarks, remark))
    return narrow(source, kept)


def _with_needed(requests: dict[Place, Request], selected: Iterable[Place]) -> set[Place]:
    """Add the requests that a selected one needs, and those that they need.

    A request needs the earlier ones whose saved values it uses, and with ``after = "meanwhile"`` the one before it.
    """
    kept = set(selected)
    order = list(requests)
    for index in range(len(order) - 1, -1, -1):
        place = order[index]
        if place not in kept:
            continue
        part, number = place
        if requests[place].after == "meanwhile" and number > 0:
            kept.add((part, number - 1))
        for value in requests[place].needs:
            kept.update([earlier for earlier in order[:index] if value in requests[earlier].save][-1:])
    return kept


def narrow(source: Source, kept: Iterable[Place]) -> Source:
    """Return ``source`` with only the requests at ``kept``, and the parts that have one. The lines stay right."""
    script, lines = source.script, source.lines
    numbers: dict[int, list[int]] = {}
    for part, number in sorted(kept):
        numbers.setdefault(part, []).append(number)
    if not script.parts:
        lines = keep_items(lines, ("request",), numbers[0])
        change: dict[str, object] = {"requests": [script.requests[number] for number in numbers[0]]}
    else:
        for part, kept_numbers in numbers.items():
            lines = keep_items(lines, ("part", part, "request"), kept_numbers)
        lines = keep_items(lines, ("part",), list(numbers))
        change = {
            "parts": [
                script.parts[part].model_copy(update={"requests": [script.parts[part].requests[n] for n in of_part]})
                for part, of_part in numbers.items()
            ]
        }
    return replace(source, script=script.model_copy(update=change), lines=lines)
