"""The model of a script: the app, the requests, the files to follow, and the expectations.

`reader` creates it from a TOML document. `placeholders` describes the placeholders in its strings.
"""

import json
import re
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from fastbg.events import ExpectedVerdict
from fastbg.scripting import placeholders
from fastbg.scripting.request_names import with_names
from fastbg.scripting.server_table import Text, UvicornOptions

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
State = Literal["queued", "started", "finished", "failed", "dropped"]
Signal = Literal["SIGTERM", "SIGINT", "SIGKILL"]

MAX_REPEATS = 1_000_000
ANY_STATUS = range(100, 600)

_PATH = "^/([^/]|$)"
_APP = r"^[\w.-]+:[\w.]+$"
_LINK = "^https?://"
_URL = "^(https?://|unix:)."
_CODE = r"^[^\r\n]*\S[^\r\n]*$"
_SAVED = (
    r"^(status|(body|headers|cookies)(\..+)?"
    r"|request\.(path|url|body)|request\.(json|query|form|headers|cookies)(\..+)?)$"
)
PATTERNS = {  # each pattern, and its description in messages
    _PATH: "a path that starts with a single /",
    _APP: "module:attribute, such as main:app for the `app` in main.py",
    _LINK: "a URL that starts with http:// or https://",
    _URL: "a URL that starts with http:// or https://, or unix:PATH",
    _CODE: "the name of a function or class, or a text of one line",
    _SAVED: "status, body.KEY, headers.NAME, cookies.NAME, or of what was sent: request.json.KEY, request.query.NAME, "
    "request.form.NAME, request.headers.NAME, request.cookies.NAME, request.body, request.path or request.url",
}

Status = Annotated[int, Field(ge=ANY_STATUS[0], le=ANY_STATUS[-1])]
App = Annotated[Text, StringConstraints(pattern=_APP)]
Code = Annotated[
    list[Annotated[str, StringConstraints(pattern=_CODE)]],
    Field(
        description="What `fastbg show` marks in the app's source: functions and classes by their names, and all lines "
        "that contain a text."
    ),
]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Parameter = str | int | float | bool | list[str | int | float | bool]
TextOrNone = str | Annotated[list[str], Field(max_length=0)]  # an empty array: do not send it


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _pattern(text: str) -> str:
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(placeholders.fill_text(text, dict.fromkeys(placeholders.names(text), "x")))
    except (re.error, OverflowError) as error:
        raise ValueError(f"is not a valid regular expression: {error}") from None
    except RecursionError:
        raise ValueError("is not a valid regular expression: nested too deeply") from None
    return text


class Write(_Model):
    """An expected write to a followed file: a text, a match of a regular expression, or a change of the file."""

    file: Annotated[Text, Field(description="The file, spelled as in `follow`, or the file of `mail`.")]
    text: Annotated[Text | None, Field(description="The complete text, including newlines.")] = None
    pattern: Annotated[
        Text | None, AfterValidator(_pattern), Field(description="A Python regular expression, instead of `text`.")
    ] = None
    created: Annotated[Literal[True] | None, Field(description="The file is created, instead of `text`.")] = None
    deleted: Annotated[
        Literal[True] | None, Field(description="The file is deleted, or moved to another path, instead of `text`.")
    ] = None
    count: Annotated[
        int, Field(ge=0, le=MAX_REPEATS, description="The exact number of writes; 0: it must not be written.")
    ] = 1
    within: Annotated[
        Seconds | None,
        Field(description="Limit in seconds after the request. fastbg waits longer only while its tasks run."),
    ] = None


class TaskExpect(_Model):
    """An expected background task."""

    task: Annotated[Text, Field(description="The name of the function, or a longer end of module.qualname.")]
    state: Annotated[State | None, Field(description="The expected state. Default: any.")] = None
    where: Annotated[
        Literal["thread", "loop", "worker"] | None,
        Field(description="Where it runs: in a thread, in the event loop, or in a worker of a queue. Default: any."),
    ] = None
    within: Annotated[
        Seconds | None, Field(description="Limit in seconds from the request to the end of the task.")
    ] = None


def _tasks(value: object) -> object:
    return [{"task": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value


def _statuses(value: object) -> object:
    if value == "any":
        return list(ANY_STATUS)
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _before(change: Callable[[object], object], accepted: Any) -> BeforeValidator:
    """Return a validator of the raw value. ``accepted``: its type in the schema, unless pydantic is too old."""
    if "json_schema_input_type" in BeforeValidator.__dataclass_fields__:
        return BeforeValidator(change, json_schema_input_type=accepted)
    return BeforeValidator(change)


class Expect(_Model):
    """The expectations of a request."""

    status: Annotated[
        list[Status],
        _before(_statuses, Status | list[Status] | Literal["any"]),
        Field(min_length=1, description='The status, an array of allowed statuses, or "any". Default: 200.'),
    ] = [200]
    body: Annotated[
        dict[str, Any] | list[Any] | str | int | float | bool | None,
        Field(description="A part of the JSON body (objects may have more keys), or the complete body as a string."),
    ] = None
    verdict: Annotated[
        ExpectedVerdict,
        Field(
            description="The expected verdict. any: with or without work, in any order, but nothing failed or lost. "
            "Default: response-first."
        ),
    ] = "response-first"
    tasks: Annotated[
        list[TaskExpect] | None,
        _before(_tasks, list[Text | TaskExpect] | None),
        Field(description="All background tasks of the request, in the order of their starts."),
    ] = None
    writes: Annotated[list[Write], Field(description="The expected writes to the followed files.")] = []
    response_within: Annotated[Seconds | None, Field(description="Maximum time of the response in seconds.")] = None
    response_at_least: Annotated[Seconds | None, Field(description="Minimum time of the response in seconds.")] = None
    lead_at_least: Annotated[
        Seconds | None, Field(description="Minimum time in seconds from the response to the first write.")
    ] = None


class Upload(_Model):
    """A file in a multipart form: a text, or a file in `folder`."""

    field: Annotated[Text, Field(description="The name of the form field.")]
    name: Annotated[Text, Field(description="The file name in the request.")] = "file"
    text: Annotated[str | None, Field(description="The content of the file.")] = None
    path: Annotated[Text | None, Field(description="A file to send instead of `text`, relative to `folder`.")] = None
    type: Annotated[Text, Field(description="The media type in the request.")] = "application/octet-stream"


class SignalAfter(_Model):
    """A signal that fastbg sends when the request and its repetitions have their responses."""

    name: Annotated[
        Signal, Field(description="SIGTERM and SIGINT request a graceful stop, SIGKILL ends the process immediately.")
    ]
    to: Annotated[
        Literal["server", "worker", "broker"],
        Field(
            description="The receiver. A worker or a broker (in a part with `worker`) is restarted after the signal."
        ),
    ] = "server"
    after: Annotated[
        Annotated[float, Field(ge=0, le=3600)] | Literal["started"],
        Field(description="Seconds after these responses; started: when a task of each request so far has started."),
    ] = 0.0


class Request(_Model):
    """One request of a script, or several equal ones."""

    name: Annotated[
        Text,
        Field(
            default_factory=str,  # set by `_WithRequests`
            description="The name in reports, unique in its part. Default: the method and the path.",
        ),
    ]
    about: Annotated[str, Field(description="What the request shows, for --step.")] = ""
    method: Annotated[Method, Field(description="The HTTP method. Default: GET.")] = "GET"
    path: Annotated[
        str,
        StringConstraints(pattern=_PATH),
        Field(
            description="The path, such as `/orders/${mark}`. ${mark} is the unique id of the request, ${run} a text "
            "that all requests of the run share."
        ),
    ]
    query: Annotated[
        dict[str, Parameter],
        Field(description="Query parameters in addition to the script's; an array repeats one, [] does not send it."),
    ] = {}
    headers: Annotated[
        dict[str, TextOrNone], Field(description="Headers in addition to the script's; [] does not send one.")
    ] = {}
    cookies: Annotated[
        dict[str, TextOrNone], Field(description="Cookies in addition to the script's; [] does not send one.")
    ] = {}
    json_body: Annotated[Any, Field(alias="json", description="A JSON body.")] = None
    form: Annotated[
        dict[str, Parameter], Field(description="Form fields; the form is multipart if there are `files`.")
    ] = {}
    files: Annotated[list[Upload], Field(description="Uploaded files.")] = []
    body: Annotated[str | None, Field(description="A raw body; set its media type in `headers`.")] = None
    repeat: Annotated[int, Field(ge=1, le=MAX_REPEATS, description="Number of repetitions.")] = 1
    concurrency: Annotated[int, Field(ge=1, le=1000, description="Repetitions in parallel.")] = 1
    timeout: Annotated[
        Seconds | None, Field(description="Seconds without an event until its response or its tasks are given up.")
    ] = None
    after: Annotated[
        Literal["responses", "tasks", "meanwhile"],
        Field(
            description="When to send it. responses: every earlier request has its response. tasks: the tasks of every "
            "earlier request have ended as well. meanwhile: as responses, but --step does not pause before it."
        ),
    ] = "responses"
    connection: Annotated[
        Text | None, Field(description="Name of a connection; requests with the same name share it.")
    ] = None
    hang_up_after: Annotated[
        Seconds | Literal["queued"] | None,
        Field(
            description="Close the connection this many seconds after the request; queued: when the server has "
            "queued a task for it. An earlier response counts."
        ),
    ] = None
    signal: Annotated[SignalAfter | None, Field(description="A signal to send after the responses.")] = None
    save: Annotated[
        dict[str, Annotated[str, StringConstraints(pattern=_SAVED)]],
        Field(
            description="Values for later requests, by name: from the response (status, body.id, headers.location, "
            "cookies.session), or from what was sent (request.json.email, request.query.q, request.path)."
        ),
    ] = {}
    expect: Annotated[Expect, Field(description="The expectations of the request.")] = Expect()

    @property
    def needs(self) -> set[str]:
        """The names of the values that its placeholders stand for."""
        return placeholders.used(self.model_dump(by_alias=True, exclude_unset=True))


class _WithRequests(_Model):
    """A table with requests. A request without a name gets its default name."""

    _name_requests = model_validator(mode="before")(with_names)


class Part(_WithRequests):
    """A part of a script. A part with a different app or different settings than the last one has its own server."""

    name: Annotated[Text, Field(description="The name in reports.")]
    about: Annotated[str, Field(description="An explanation of this part.")] = ""
    code: Code = []
    app: Annotated[App | None, Field(description="The app as module:attribute, instead of the script's app.")] = None
    command: Annotated[
        list[Text] | None,
        Field(min_length=1, description="The command of your own server, instead of the script's."),
    ] = None
    env: Annotated[dict[str, str], Field(description="Environment variables in addition to those of the script.")] = {}
    server: Annotated[UvicornOptions | None, Field(description="Options of uvicorn instead of the script's.")] = None
    worker: Annotated[
        App | None,
        Field(
            description="Taskiq's broker as module:attribute. fastbg starts a worker and a NATS server "
            "(its URL is in FASTBG_BROKER). Parts with the same broker share them."
        ),
    ] = None
    requests: Annotated[
        list[Request], Field(alias="request", min_length=1, description="The requests of the part, in order.")
    ]


class Script(_WithRequests):
    """A script: the app, the files to follow, and the requests in order."""

    title: Annotated[str, Field(description="The question that the script answers, or its topic.")] = ""
    about: Annotated[str, Field(description="An explanation of the result.")] = ""
    moral: Annotated[
        str,
        Field(
            description="What the measured values show. `${trap: ping | response}` is the response time of the request "
            "`ping` in the part `trap`."
        ),
    ] = ""
    code: Code = []
    group: Annotated[str, Field(description="The group of a built-in script in `fastbg demo --list`.")] = ""
    links: Annotated[
        list[Annotated[str, StringConstraints(pattern=_LINK)]], Field(description="Links to further information.")
    ] = []
    app: Annotated[
        App | None, Field(description="The app as module:attribute, such as `main:app` for the `app` in main.py.")
    ] = None
    url: Annotated[
        Annotated[str, StringConstraints(pattern=_URL)] | None,
        Field(description="The URL of a running server, or unix:PATH of its Unix socket, instead of an app."),
    ] = None
    command: Annotated[
        list[Text] | None,
        Field(
            min_length=1,
            description="The command of your own server, such as gunicorn, as an array of words. One of them has "
            "`${port}`, for the port to listen on. `app` may name the app that it serves.",
        ),
    ] = None
    folder: Annotated[
        Text,
        Field(description="The folder from which the app is imported and in which it runs, relative to the script."),
    ] = "."
    env: Annotated[dict[str, str], Field(description="Environment variables for the server.")] = {}
    headers: Annotated[
        dict[str, str],
        Field(
            description="Headers of all requests; a request may set one again. One with a saved value is sent from the "
            "request after the one that saves it."
        ),
    ] = {}
    query: Annotated[dict[str, Parameter], Field(description="Query parameters of all requests, as `headers`.")] = {}
    cookies: Annotated[dict[str, str], Field(description="Cookies of all requests, as `headers`.")] = {}
    follow: Annotated[list[Text], Field(description="The files that tasks write, relative to `folder`.")] = []
    timeout: Annotated[
        Seconds | None, Field(description="Seconds without an event until a response or a task is given up.")
    ] = None
    server: Annotated[UvicornOptions, Field(description="Options of uvicorn.")] = UvicornOptions()
    mail: Annotated[
        Text | None, Field(description="Start a mail server that writes all received mail to this file.")
    ] = None
    parts: Annotated[
        list[Part], Field(alias="part", description="Parts with their own requests, instead of `request`.")
    ] = []
    requests: Annotated[list[Request], Field(alias="request", description="The requests, in order.")] = []

    @property
    def all_parts(self) -> list[Part]:
        """The parts, or one part with all requests if the script has no parts."""
        if self.parts:
            return self.parts
        return [Part.model_construct(name="", code=self.code, requests=self.requests)]

    @classmethod
    def schema_text(cls) -> str:
        """Return the JSON Schema of scripts, for editors."""
        from fastbg.scripting.schema import schema_of

        return json.dumps(schema_of(cls), ensure_ascii=False, indent=2) + "\n"
