"""The model of a script: the app, the requests, the files to follow, and what is expected.

`reader` makes it of a TOML document. `placeholders` says which placeholders may stand in its texts.
"""

import json
import re
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from fastbg.events import Verdict
from fastbg.scripting import placeholders

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
State = Literal["queued", "started", "finished", "failed", "dropped"]
Signal = Literal["SIGTERM", "SIGINT", "SIGKILL"]

MAX_REPEATS = 1_000_000

_PATH = "^/([^/]|$)"
_APP = r"^[\w.]+:[\w.]+$"
_LINK = "^https?://"
_URL = "^https?://."
_SAVED = r"^(status|(body|headers|cookies)(\..+)?)$"
PATTERNS = {  # what a text has to match, and the words for it
    _PATH: "a path that begins with one /",
    _APP: "module:attribute, `main:app` for the `app` in main.py",
    _LINK: "an address that begins with http:// or https://",
    _URL: "an address that begins with http:// or https://",
    _SAVED: "status, body.KEY, headers.NAME or cookies.NAME",
}

Status = Annotated[int, Field(ge=100, le=599)]
Text = Annotated[str, StringConstraints(min_length=1)]
App = Annotated[Text, StringConstraints(pattern=_APP)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Parameter = str | int | float | bool | list[str | int | float | bool]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _pattern(text: str) -> str:
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(placeholders.fill_text(text, dict.fromkeys(placeholders.names(text), "x")))
    except (re.error, OverflowError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    except RecursionError:
        raise ValueError("is too deeply nested a regular expression") from None
    return text


class Write(_Model):
    """What has to arrive in a followed file: a text, or a match of a regular expression."""

    file: Annotated[Text, Field(description="One of the files in `follow`, written as it is there.")]
    text: Annotated[Text | None, Field(description="The whole text, line ends included.")] = None
    pattern: Annotated[
        Text | None, AfterValidator(_pattern), Field(description="A regular expression of Python's instead.")
    ] = None
    count: Annotated[int, Field(ge=0, le=MAX_REPEATS, description="How often it has to arrive, no more, no less.")] = 1
    within: Annotated[
        Seconds | None,
        Field(description="Seconds from sent; fastbg waits no longer once the request's tasks have ended."),
    ] = None


class TaskExpect(_Model):
    """A background task that is expected, and what has to become of it."""

    task: Annotated[Text, Field(description="The function's name, or more of module.qualname.")]
    state: Annotated[State | None, Field(description="What has to become of it; anything without it.")] = None
    where: Annotated[
        Literal["thread", "loop", "worker"] | None,
        Field(description="Whether it runs in a thread, in the event loop, or in a worker of a queue."),
    ] = None
    within: Annotated[Seconds | None, Field(description="Seconds from sent until it has finished.")] = None


def _tasks(value: object) -> object:
    """A task's name alone says that a task of that name is expected."""
    return [{"task": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value


def _statuses(value: object) -> object:
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _before(change: Callable[[object], object], accepted: Any) -> BeforeValidator:
    """A validator that sees the raw value. ``accepted``: what the schema says of it, where pydantic is not too old."""
    if "json_schema_input_type" in BeforeValidator.__dataclass_fields__:
        return BeforeValidator(change, json_schema_input_type=accepted)
    return BeforeValidator(change)


class Expect(_Model):
    """What a request is expected to bring."""

    status: Annotated[
        list[Status],
        _before(_statuses, Status | list[Status]),
        Field(min_length=1, description="The status, or several that will do; 200 without it."),
    ] = [200]
    body: Annotated[
        dict[str, Any] | list[Any] | str | int | float | bool | None,
        Field(description="A part of the JSON body (objects may have more keys), or the whole body as a text."),
    ] = None
    verdict: Annotated[Verdict, Field(description="What has to come first; response-first without it.")] = (
        "response-first"
    )
    tasks: Annotated[
        list[TaskExpect] | None,
        _before(_tasks, list[Text | TaskExpect] | None),
        Field(description="All background tasks of the request, in the order in which they have to start."),
    ] = None
    writes: Annotated[list[Write], Field(description="What has to arrive in the followed files.")] = []
    response_within: Annotated[Seconds | None, Field(description="The response has to be there so soon, in s.")] = None
    response_at_least: Annotated[Seconds | None, Field(description="The response has to take so long, in s.")] = None
    lead_at_least: Annotated[
        Seconds | None, Field(description="Seconds that the first write has to come after the response.")
    ] = None


class Upload(_Model):
    """A file in a multipart form: a text, or a file of the `folder`."""

    field: Annotated[Text, Field(description="The name of the form's field.")]
    name: Annotated[Text, Field(description="The name of the file, as the app is told.")] = "file"
    text: Annotated[str | None, Field(description="What is in the file.")] = None
    path: Annotated[Text | None, Field(description="A file to send instead, relative to `folder`.")] = None
    type: Annotated[Text, Field(description="The media type, as the app is told.")] = "application/octet-stream"


class SignalAfter(_Model):
    """A signal, once the request and its repetitions have their responses."""

    name: Annotated[Signal, Field(description="SIGTERM and SIGINT ask it to stop, SIGKILL does not ask.")]
    to: Annotated[
        Literal["server", "worker", "broker"],
        Field(description="Whom to send it; a worker and a broker, of a part with worker, are then started again."),
    ] = "server"
    after: Annotated[
        Annotated[float, Field(ge=0, le=3600)] | Literal["started"],
        Field(description="Seconds after these responses; or started: once a task of each request so far has started."),
    ] = 0.0


class Request(_Model):
    """One request of a script, or several alike."""

    name: Annotated[Text, Field(description="What the report calls it; no other request of the part has this name.")]
    about: Annotated[str, Field(description="A sentence for --step: what will happen.")] = ""
    method: Annotated[Method, Field(description="The HTTP method; GET without it.")] = "GET"
    path: Annotated[
        str,
        StringConstraints(pattern=_PATH),
        Field(description="The path, `/orders/${mark}`. ${mark} is a text that no other request has."),
    ]
    query: Annotated[dict[str, Parameter], Field(description="Query parameters; an array for several of a name.")] = {}
    headers: Annotated[dict[str, str], Field(description="Request headers.")] = {}
    cookies: Annotated[dict[str, str], Field(description="Cookies, sent with this request only.")] = {}
    json_body: Annotated[Any, Field(alias="json", description="A JSON body.")] = None
    form: Annotated[dict[str, Parameter], Field(description="A form; multipart with `files`.")] = {}
    files: Annotated[list[Upload], Field(description="Uploaded files.")] = []
    body: Annotated[str | None, Field(description="A raw body; name its type in `headers`.")] = None
    repeat: Annotated[int, Field(ge=1, le=MAX_REPEATS, description="How often.")] = 1
    concurrency: Annotated[int, Field(ge=1, le=1000, description="How many of these at a time.")] = 1
    timeout: Annotated[Seconds | None, Field(description="Seconds for the response, then for tasks and writes.")] = None
    after: Annotated[
        Literal["responses", "tasks", "meanwhile"],
        Field(
            description="Sent when every earlier request has its response, or when its tasks are done as well; "
            "meanwhile: as with responses, while the tasks may be running, so --step makes no pause before it."
        ),
    ] = "responses"
    connection: Annotated[Text | None, Field(description="Requests that name the same one share a connection.")] = None
    hang_up_after: Annotated[
        Seconds | Literal["queued"] | None,
        Field(
            description="Close the connection so many seconds after the request was sent, or queued: once the server "
            "has queued a task for it. A response that comes earlier is taken."
        ),
    ] = None
    signal: Annotated[SignalAfter | None, Field(description="Then send the server, say, a signal.")] = None
    save: Annotated[
        dict[str, Annotated[str, StringConstraints(pattern=_SAVED)]],
        Field(description="Values for later requests, by name: body.id, headers.location, cookies.session, status."),
    ] = {}
    expect: Annotated[Expect, Field(description="What it is expected to bring.")] = Expect()


class UvicornOptions(_Model):
    """Settings of uvicorn, as its own options of these names."""

    timeout_graceful_shutdown: Annotated[
        int | None, Field(ge=0, description="Seconds for running requests and tasks when it stops; no end without it.")
    ] = None
    timeout_keep_alive: Annotated[int, Field(ge=0, description="Seconds that an idle connection stays open.")] = 5
    loop: Annotated[Literal["auto", "asyncio", "uvloop"], Field(description="The event loop.")] = "auto"
    http: Annotated[Literal["auto", "h11", "httptools"], Field(description="The HTTP implementation.")] = "auto"


class Part(_Model):
    """A part of a script. It has a server of its own where it names another app or other settings than the last."""

    name: Annotated[Text, Field(description="What the report calls it.")]
    about: Annotated[str, Field(description="What this part shows.")] = ""
    app: Annotated[App | None, Field(description="module:attribute, where it is not the script's.")] = None
    env: Annotated[dict[str, str], Field(description="Environment variables, besides those of the script.")] = {}
    server: Annotated[UvicornOptions | None, Field(description="Settings of uvicorn instead of the script's.")] = None
    worker: Annotated[
        App | None,
        Field(
            description="module:attribute of Taskiq's broker: start a NATS server, which FASTBG_BROKER names, and a "
            "worker for its tasks. Parts that name the same one share them."
        ),
    ] = None
    requests: Annotated[list[Request], Field(alias="request", min_length=1, description="Its requests, in order.")]


class Script(_Model):
    """A whole script: where the app is, what to follow, and the requests in their order."""

    title: Annotated[str, Field(description="What the script shows, or the question that it answers.")] = ""
    about: Annotated[str, Field(description="Why the outcome is what it is.")] = ""
    group: Annotated[str, Field(description="Where `fastbg demo --list` shows a built-in script.")] = ""
    links: Annotated[
        list[Annotated[str, StringConstraints(pattern=_LINK)]], Field(description="Where to read more.")
    ] = []
    app: Annotated[
        App | None, Field(description="The app as module:attribute, `main:app` for the `app` in main.py.")
    ] = None
    url: Annotated[
        Annotated[str, StringConstraints(pattern=_URL)] | None,
        Field(description="A server that runs already, instead of an app."),
    ] = None
    folder: Annotated[
        Text,
        Field(description="The app is imported from it and runs in it; relative to the script."),
    ] = "."
    env: Annotated[dict[str, str], Field(description="Environment variables for the server.")] = {}
    follow: Annotated[list[Text], Field(description="The files that tasks write, relative to `folder`.")] = []
    timeout: Annotated[Seconds | None, Field(description="Seconds for a response, then for its tasks and writes.")] = (
        None
    )
    server: Annotated[UvicornOptions, Field(description="Settings of uvicorn.")] = UvicornOptions()
    mail: Annotated[Text | None, Field(description="Start a mail server that writes what arrives to this file.")] = None
    parts: Annotated[
        list[Part], Field(alias="part", description="Parts that have requests of their own, instead of `request`.")
    ] = []
    requests: Annotated[list[Request], Field(alias="request", description="The requests, in order.")] = []

    @property
    def all_parts(self) -> list[Part]:
        """The parts, or the one that the requests make where the script has none."""
        if self.parts:
            return self.parts
        return [Part.model_construct(name="", requests=self.requests)]

    @classmethod
    def schema_text(cls) -> str:
        """The JSON Schema of the format, for editors."""
        from fastbg.scripting.schema import schema_of

        return json.dumps(schema_of(cls), ensure_ascii=False, indent=2) + "\n"
