"""A script: the app, the requests, the files to follow, and what is expected. TOML in, clear errors out."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fastbg.errors import ScriptError
from fastbg.events import Verdict

MARK = "${mark}"

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Write(_Model):
    """``text`` that has to arrive in ``file``, a name in the data folder."""

    file: str
    text: Annotated[str, Field(min_length=1)]


class Expect(_Model):
    """What a request is expected to bring. ``body``: a part of the JSON body, or the whole body as a text."""

    verdict: Verdict = "response-first"
    status: int = 200
    body: dict[str, Any] | list[Any] | str | None = None
    tasks: list[str] | None = None
    writes: list[Write] = []


class Request(_Model):
    """One request of a script. ``${mark}`` in any text stands for a mark that only this request has."""

    name: Annotated[str, Field(min_length=1)]
    about: str = ""
    method: Method = "GET"
    path: Annotated[str, Field(pattern="^/")]
    query: dict[str, str] = {}
    expect: Expect = Expect()

    def marked(self, mark: str) -> Self:
        """The same request with ``mark`` filled in wherever ``${mark}`` stands."""
        return type(self).model_validate(_fill(self.model_dump(exclude_unset=True), mark))


class Script(_Model):
    """The app as ``module:attribute``, the files of the data folder to follow, and the requests in their order."""

    app: str
    follow: list[str] = []
    requests: Annotated[list[Request], Field(alias="request", min_length=1)]


def _fill(value: Any, mark: str) -> Any:
    if isinstance(value, str):
        return value.replace(MARK, mark)
    if isinstance(value, Mapping):
        return {key: _fill(item, mark) for key, item in value.items()}
    return [_fill(item, mark) for item in value] if isinstance(value, list) else value


def default_script() -> Script:
    """The script that `fastbg demo` runs when none is named."""
    return read_script(resources.files("fastbg.scripts").joinpath("default.toml").read_text("utf-8"), "default.toml")


def read_script(text: str, where: str) -> Script:
    """The script in ``text``; raises `ScriptError`, which names ``where`` it came from and each fault."""
    try:
        return Script.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ScriptError(f"the script is no TOML: {error}", where=where, remedy="mend the line") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise ScriptError("; ".join(faults), where=where, remedy="mend the keys that are named") from error
