"""Builds server settings, requests and expectations from a script. Reads no files except uploads."""

import os
import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastbg.evidence.trace import Expected, ExpectedTask, ExpectedWrite, SentRequest, Trace, Witnesses
from fastbg.run.client import OutgoingRequest, Response
from fastbg.scripting import placeholders
from fastbg.scripting.model import ANY_STATUS, Part, Request, Script, Write
from fastbg.scripting.reader import Source
from fastbg.scripting.saved_values import REQUEST, sent_value, sent_values
from fastbg.server.discovery import import_folder
from fastbg.server.settings import PORT_MARK, ServerSettings
from fastbg.server.uvicorn_options import PATHS

Values = Mapping[str, Any]
SavedValues = tuple[dict[str, Any], dict[str, str]]  # those that were found, and the places of the missing ones


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The paths of a run. ``directory``: the data folder. ``folder``: the app's. ``files``: followed files by name.

    ``unseen``: followed files that nothing writes to in this run, with the reason. Expectations about them are ignored.
    """

    directory: Path
    folder: Path
    files: Mapping[str, Path]
    unseen: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Source, directory: Path, known: Values) -> "RunPaths":
        script = source.script
        folder = Path(os.path.normpath(source.folder / placeholders.fill_text(script.folder, known)))
        names = [*script.follow, *([script.mail] if script.mail else [])]
        files = {name: Path(os.path.normpath(folder / placeholders.fill_text(name, known))) for name in names}
        return cls(directory, folder, files)


def known_values(source: Source, directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the placeholder values that are known before the run starts. ``directory``: the data folder."""
    used = placeholders.used(source.script.model_dump())
    variables = {f"env.{name}": value for name, value in environment.items() if f"env.{name}" in used}
    return {"dir": str(directory), **variables}


def settings_of(script: Script, part: Part, paths: RunPaths, known: Values, base: ServerSettings) -> ServerSettings:
    """Return the server settings for ``part``. An app from the command line (in ``base``) keeps its folder."""
    env = placeholders.fill({**script.env, **part.env}, {**known, placeholders.PORT: PORT_MARK})
    options = placeholders.fill((part.server or script.server).model_dump(exclude_unset=True), known)
    options |= {name: str(paths.folder / options[name]) for name in PATHS if name in options}
    app_dir, factory = options.pop("app_dir", None), options.pop("factory", False)
    if not base.app:
        command = part.command or (None if part.app else script.command)
        if command is not None:
            words = tuple(placeholders.fill_text(word, {**known, placeholders.PORT: PORT_MARK}) for word in command)
            base = replace(base, command=words)
        app = part.app or script.app or ""
        app_dir = import_folder(app, paths.folder) if app_dir is None else paths.folder / app_dir
        base = replace(base, app=app, app_dir=app_dir, factory=factory, run_in=paths.folder)
    return replace(
        base, files=tuple(paths.files.values()), env=tuple(sorted(env.items())), options=tuple(options.items())
    )


class RequestTemplate:
    """A request of a script with placeholders. ``needs``: the names of the values that it uses."""

    def __init__(self, source: Source, part: Part, number: int, paths: RunPaths) -> None:
        self.request: Request = part.requests[number]
        self.part = part.name
        self._paths = paths
        parts = source.script.parts
        prefix = ("part", parts.index(part), "request", number) if parts else ("request", number)
        self._script = source.name
        self._lines = source.lines_below(prefix)
        self._uploads: dict[str, bytes] = {}
        self.needs = self.request.needs

    @property
    def line(self) -> int:
        """The line of the script where the request begins."""
        return self._lines.get((), 1)

    def renamed(self, name: str) -> "RequestTemplate":
        """Return the same request with another name in the report."""
        other = copy(self)
        other.request = self.request.model_copy(update={"name": name})
        return other

    def outgoing(self, known: Values) -> OutgoingRequest:
        """Return the request with values for all placeholders."""
        request = self.request
        return OutgoingRequest(
            method=request.method,
            path=placeholders.fill_text(request.path, known),
            query=placeholders.fill(request.query, known),
            headers=_texts(request.headers, known),
            cookies=_texts(request.cookies, known),
            json=placeholders.fill(request.json_body, known),
            has_json=request.json_body is not None,
            form=placeholders.fill(request.form, known),
            files=[
                (
                    upload.field,
                    (
                        placeholders.fill_text(upload.name, known),
                        placeholders.fill_text(upload.text, known).encode()
                        if upload.text is not None
                        else self._content(placeholders.fill_text(upload.path or "", known)),
                        upload.type,
                    ),
                )
                for upload in request.files
            ],
            content=None if request.body is None else placeholders.fill_text(request.body, known).encode(),
            connection=request.connection,
            hang_up_after=None if request.hang_up_after == "queued" else request.hang_up_after,
        )

    def trace(self, known: Values, *, url: str, journal: bool, name: str) -> Trace:
        """Return a new trace, before the request is sent."""
        request = SentRequest(
            request_id=known["mark"],
            method=self.request.method,
            url=url,
            name=name,
            part=self.part,
            script=self._script,
            lines=self._lines,
            hangs_up=self.request.hang_up_after is not None,
        )
        return Trace(request, self._expected(known), Witnesses(journal), answered=False)

    def _expected(self, known: Values) -> Expected:
        expect, unseen = self.request.expect, self._paths.unseen
        tasks = expect.tasks
        return Expected(
            verdict=expect.verdict,
            statuses=() if expect.status == list(ANY_STATUS) else tuple(expect.status),
            body=placeholders.fill(expect.body, known),
            tasks=None
            if tasks is None
            else tuple(ExpectedTask(task.task, task.state, task.where, _ms(task.within)) for task in tasks),
            writes=tuple(self._write(write, known) for write in expect.writes if write.file not in unseen),
            unseen=next((unseen[write.file] for write in expect.writes if write.file in unseen), None),
            response_within_ms=_ms(expect.response_within),
            response_at_least_ms=_ms(expect.response_at_least),
            lead_at_least_ms=_ms(expect.lead_at_least),
        )

    def saved(self, response: Response, body: Any) -> SavedValues:
        """Return the values to save from a response. ``body``: the parsed JSON value."""
        read: dict[str, Callable[[str], Any]] = {
            "status": lambda path: response.status,
            "body": lambda path: placeholders.at(body, path),
            "headers": lambda path: response.headers[path],
            "cookies": lambda path: response.cookies[path],
        }

        def value(place: str) -> Any:
            kind, _, path = place.partition(".")
            return read[kind](path)

        places = {name: place for name, place in self.request.save.items() if not place.startswith(REQUEST)}
        return _saved(places, value)

    def saved_of_request(self, outgoing: OutgoingRequest, url: str) -> SavedValues:
        """Return the values to save from what was sent. ``url``: as it was sent."""
        sent = sent_values(
            path=outgoing.path,
            query=outgoing.query,
            headers=outgoing.headers,
            url=url,
            cookies=outgoing.cookies,
            json=outgoing.json,
            form=outgoing.form,
            body=None if outgoing.content is None else outgoing.content.decode(),
        )
        places = {name: place for name, place in self.request.save.items() if place.startswith(REQUEST)}
        return _saved(places, lambda place: sent_value(place, sent))

    def _write(self, write: Write, known: Values) -> ExpectedWrite:
        quote = None if write.pattern is None else re.escape
        text = placeholders.fill_text(write.text or write.pattern or "", known, quote=quote)
        return ExpectedWrite(
            file=str(self._paths.files[write.file]),
            text=text,
            has_id=known["mark"] in text.replace("\\-", "-"),
            count=write.count,
            pattern=write.pattern is not None,
            within_ms=_ms(write.within),
            change="created" if write.created else "deleted" if write.deleted else None,
        )

    def _content(self, name: str) -> bytes:
        if name not in self._uploads:
            self._uploads[name] = (self._paths.folder / name).read_bytes()
        return self._uploads[name]


def _saved(places: Mapping[str, str], value: Callable[[str], Any]) -> SavedValues:
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, place in places.items():
        try:
            found[name] = value(place)
        except LookupError:
            missing[name] = place
    return found, missing


def _texts(table: Mapping[str, Any], known: Values) -> dict[str, str]:
    return {placeholders.fill_text(key, known): placeholders.fill_text(text, known) for key, text in table.items()}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
