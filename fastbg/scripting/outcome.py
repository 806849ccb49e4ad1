"""What a run saw of a drafted request, as the expectations of a script. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastbg.events import Verdict
from fastbg.recorder.request_ids import without_uuids
from fastbg.scripting import placeholders
from fastbg.scripting.toml_writer import assignment
from fastbg.text import escape_control

MAX_WRITES = 20  # of one request
MAX_NOTE = 200  # characters

# What is different each time: dates and times, addresses, UUIDs.
_VARYING = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?|\d\d:\d\d:\d\d(?:[.,]\d+)?|0x[0-9a-f]+"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
_VARIANT = r"[-\w:., ]+?"
_PIECE = re.compile(r"\s*[^\n]*\S[^\n]*\n?")  # a line, with the empty lines before it
_MARK, _PLACE = "\ue000", "\ue001"  # private-use characters


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run saw of one request.

    ``mark``: the text that ``${mark}`` stood for. ``status``: None without a response. ``tasks``: names of its tasks in
    the order of their starts. ``writes``: file and text. ``note``: why the author should look at it, or None.
    """

    mark: str
    status: int | None
    verdict: Verdict
    tasks: tuple[str, ...] = ()
    writes: tuple[tuple[str, str], ...] = ()
    note: str | None = None

    @property
    def summary(self) -> str:
        """The outcome in one line, such as "200, response-first, send_mail"."""
        status = "no response" if self.status is None else str(self.status)
        return ", ".join([status, self.verdict, *self.tasks])

    def lines(self) -> Iterator[str]:
        """Yield lines of TOML: the note as a comment, then the expectations."""
        if self.note:
            yield f"# {escape_control(self.note)[:MAX_NOTE]}"
        if self.status is not None:
            yield f"expect.status = {self.status}"
        verdict = "any" if self.verdict == "unproven" else self.verdict
        yield f'expect.verdict = "{verdict}"'
        if self.status is not None or self.tasks:
            yield from assignment("expect.tasks", list(map(placeholders.escape, self.tasks)))
        if writes := list(self._writes()):
            yield from assignment("expect.writes", writes)

    def _writes(self) -> Iterator[Mapping[str, str | int]]:
        """Yield a table per line of text, with the number of equal ones. What varies becomes a pattern."""
        pieces = Counter((file, piece) for file, text in self.writes for piece in _PIECE.findall(text))
        for (file, piece), count in list(pieces.items())[:MAX_WRITES]:
            yield {
                "file": placeholders.escape(file),
                **self._expected(piece),
                **({"count": count} if count > 1 else {}),
            }

    def _expected(self, piece: str) -> Mapping[str, str]:
        marked = without_uuids(piece).replace(self.mark, _MARK)
        if _VARYING.search(marked) is None:
            return {"text": placeholders.escape(marked).replace(_MARK, "${mark}")}
        pattern = re.escape(_VARYING.sub(_PLACE, marked)).replace("\\\n", "\\n").replace("\\ ", " ")
        return {"pattern": pattern.replace(_PLACE, _VARIANT).replace(_MARK, "${mark}")}


def last_names(names: list[str]) -> tuple[str, ...]:
    """Return ``send_mail`` for ``shop.mail.send_mail``; the whole name if the last part is not a name."""
    return tuple(last if (last := name.rpartition(".")[2]).isidentifier() else name for name in names)
