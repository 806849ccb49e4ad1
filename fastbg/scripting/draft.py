"""Writes a first script for an app: one request for each operation that is known to queue background tasks.

The operations are from the app's routes (`fastbg.scripting.routes`), the values from its OpenAPI document
(`fastbg.scripting.sample_request`), and what is known about tasks from its source code (`fastbg.scripting.queueing`).
All other operations, and those that may destroy data, are comments. The script runs without changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastbg.scripting import placeholders
from fastbg.scripting.outcome import Outcome
from fastbg.scripting.queueing import CodeLine, QueueingCode
from fastbg.scripting.request_names import default_names
from fastbg.scripting.risk import DESTROYS, destroys
from fastbg.scripting.routes import Operation, operations
from fastbg.scripting.sample_names import MARK
from fastbg.scripting.sample_request import SampleRequest, sample_request
from fastbg.scripting.toml_writer import assignment, to_toml
from fastbg.text import escape_control

NOT_KNOWN = "not known to queue a task"
MAX_NAMES = 5  # in one remark

_HEAD = """\
# A first script for {target}. Run it: fastbg demo {file}
# fastbg replaces ${{mark}} with a unique text for each request, so that it can assign each write to its request.
"""
_NONE_SENT = """\
# fastbg sends none of the requests below unasked. Remove the # from those that it may send, then remove the request of
# /replace-this. A route is known to queue a task if BackgroundTasks or BackgroundTask is in its source code, in that of
# its dependencies, or in what they call.
"""
_NO_ROUTE = "# fastbg found no route in this app. Replace the request below with one of your own.\n"
_FOLLOW = """\
# The files that the tasks write, such as "log.txt", relative to folder. Tasks without a file are recorded as well.
"""
_EXPECTED = (
    'expect.verdict = "response-first"',
    '# expect.tasks = ["function"]  # its tasks in their order',
    '# expect.writes = [{ file = "log.txt", text = "what the task writes for ${mark}\\n" }]',
)
_ANY = (
    'expect.status = "any"',
    'expect.verdict = "any"  # "response-first" if it queues a task, "no-work" if it does not',
)


@dataclass(frozen=True, slots=True)
class DraftedRequest:
    """A request of a draft. ``keys``: its lines of TOML without expectations. ``expect``: those with expectations.

    ``skipped``: why it is a comment, or None. ``remark``: more about that, or an empty text.
    """

    name: str
    keys: tuple[str, ...]
    expect: tuple[str, ...]
    skipped: str | None = None
    remark: str = ""

    @property
    def text(self) -> str:
        lines = ["[[request]]", *self.keys, *self.expect]
        if self.skipped is not None:
            reason = f"it {_verb(1, self.skipped)}{self.remark}"
            lines = [f"# fastbg does not send this unasked: {reason}.", *(f"# {line}" for line in lines)]
        return "\n".join(["", *lines, ""])


@dataclass(frozen=True, slots=True)
class Draft:
    """A first script. ``head``: its first lines, as comments. ``keys``: its keys as TOML. ``follow``: of its files.

    The ``requests`` that are comments are the last ones. ``placeholder``: the request to replace if there is no other.
    """

    head: str
    keys: tuple[str, ...]
    requests: tuple[DraftedRequest, ...]
    placeholder: DraftedRequest | None = None
    follow: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The script as TOML."""
        follow = "\n".join(assignment("follow", [placeholders.escape(name) for name in self.follow]))
        keys = "".join(f"{line}\n" for line in self.keys)
        requests = [*([self.placeholder] if self.placeholder else []), *self.requests]
        return f"{self.head}\n{keys}{_FOLLOW}{follow}\n{''.join(request.text for request in requests)}"

    @property
    def sent(self) -> tuple[str, ...]:
        """The names of the requests that are no comments."""
        return tuple(request.name for request in self.requests if request.skipped is None)

    @property
    def skipped(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the requests that are comments, by the reason, such as "may destroy data"."""
        found: dict[str, tuple[str, ...]] = {}
        for request in self.requests:
            if request.skipped is not None:
                found[request.skipped] = (*found.get(request.skipped, ()), request.name)
        return found

    def remarks(self, what: str) -> list[str]:
        """Return a sentence per reason. ``what``: what was done with the requests, such as "not sent"."""
        return [f"{reason_text(what, why, len(names))}: {_few(names)}" for why, names in self.skipped.items()]

    def with_outcomes(self, outcomes: Mapping[str, Outcome]) -> "Draft":
        """Return the draft with what a run saw, by the names of the requests, as expectations."""
        requests = [
            replace(request, expect=(*_comments(request.expect), *outcomes[request.name].lines()))
            if request.name in outcomes
            else request
            for request in self.requests
        ]
        files = (file for outcome in outcomes.values() for file, _ in outcome.writes)
        return replace(self, requests=tuple(requests), follow=tuple(dict.fromkeys(files)))


def reason_text(what: str, why: str, count: int) -> str:
    """Return "not sent, because it may destroy data" for one request or more."""
    return f"{what}, because {'it' if count == 1 else 'they'} {_verb(count, why)}"


def draft(app: object, target: str, folder: str, *, app_dir: str | None = None, file: str = "FILE") -> Draft:
    """Return a first script for ``app``, the ASGI app ``target`` ("module:attribute").

    ``folder``: the current folder, as written in the script. ``app_dir``: the folder to import the app from, relative
    to that; None: the server finds the app. ``file``: name of the script.
    """
    found = [operation for operation in operations(app) if not operation.path.startswith("//")]
    samples = [sample_request(operation) for operation in found]
    names = default_names([f"{sample.method} {sample.template}" for sample in samples])
    code = QueueingCode()
    requests = [
        _request(operation, sample, name, code.line(operation))
        for operation, sample, name in zip(found, samples, names, strict=True)
    ]
    requests.sort(key=lambda request: request.skipped is not None)
    keys = {"app": target, "folder": folder, "server.app_dir": app_dir}
    is_sent = any(request.skipped is None for request in requests)
    remark = "" if is_sent else _NONE_SENT if found else _NO_ROUTE
    return Draft(
        head=_HEAD.format(target=escape_control(target), file=escape_control(file)) + remark,
        keys=tuple(f"{name} = {to_toml(_in_script(value))}" for name, value in keys.items() if value is not None),
        requests=tuple(requests),
        placeholder=None if is_sent else _placeholder("/replace-this" if found else "/"),
    )


def _request(operation: Operation, sample: SampleRequest, name: str, line: CodeLine | None) -> DraftedRequest:
    found = [] if line is None else [f"# {line.what}: {_place(line)} {escape_control(line.text)}"]
    status = [f"expect.status = {sample.status}"] if sample.status != 200 else []
    danger = destroys(operation)
    return DraftedRequest(
        name,
        tuple(_keys(sample, name)),
        _ANY if line is None else (*found, *status, *_EXPECTED),
        skipped=DESTROYS if danger else NOT_KNOWN if line is None else None,
        remark=f" ({escape_control(danger)})" if danger else "",
    )


def _placeholder(path: str) -> DraftedRequest:
    return DraftedRequest(f"GET {path}", tuple(_keys(SampleRequest("GET", path, path), f"GET {path}")), _ANY)


def _keys(request: SampleRequest, name: str) -> Iterable[str]:
    keys = {"name": name, "method": request.method, "path": request.path}
    for table in ("query", "headers", "cookies", "json", "form", "files", "body"):
        value = getattr(request, table)
        if value or (value is not None and table in ("json", "body")):
            keys[table] = value
    yield from (line for key, value in keys.items() for line in assignment(key, _in_script(value)))
    yield from (f"# {remark}" for remark in request.remarks)


def _place(line: CodeLine) -> str:
    """Return ``shop/api.py:41``, relative to the current folder, or with the whole path."""
    path, here = Path(line.path), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return escape_control(f"{shown}:{line.number}")


def _comments(lines: Sequence[str]) -> list[str]:
    """Return the comments that say where the tasks come from, without those that say what to add."""
    return [line for line in lines if line.startswith("# ") and not line.startswith("# expect.")]


def _few(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _verb(count: int, why: str) -> str:
    """Return ``why`` as a predicate: "is not known …" or "are not known …", but "may destroy data"."""
    return why if why == DESTROYS else f"{'is' if count == 1 else 'are'} {why}"


def _in_script(value: Any) -> Any:
    """Return ``value`` for a script: the mark becomes its placeholder, and every other ``${`` is escaped."""
    match value:
        case str():
            return placeholders.escape(value).replace(MARK, "${mark}")
        case Mapping():
            return {_in_script(name): _in_script(item) for name, item in value.items()}
        case list():
            return [_in_script(item) for item in value]
    return value
