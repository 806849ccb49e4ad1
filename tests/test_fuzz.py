"""Short tests with random requests, journals and files; ``python -m tests.fuzz`` runs long ones."""

import asyncio
import re
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fastbg.follow.files import FollowedFile
from fastbg.follow.follower import Follower
from tests.conftest import EXAMPLES
from tests.fuzz import journals
from tests.fuzz.example import writes_of
from tests.fuzz.followed import APPENDING, EVERYTHING, ChangingFile, FollowerOutput, Step, steps
from tests.support.hostile import HOSTILE
from tests.support.processes import PATIENCE_S

# The example app

module = import_module("fastbg.example.app")  # the package has an attribute of that name
PathAndQuery = tuple[str, str]  # path and query
OPERATIONS = {path: methods["post"]["parameters"] for path, methods in module.app.openapi()["paths"].items()}

texts = st.one_of(
    st.text(st.characters(exclude_categories=("C", "Z")), max_size=20),
    st.text(max_size=20),
    st.sampled_from(
        ["", "you@example.com", "字" * 100, "字" * 200, "字" * 254, "\U000e0041", "🙂", "a\n", *HOSTILE.values()]
    ),
    st.from_regex(r"[a-z.+@%&=/\\ ]{1,64}@[a-z.]{1,9}\.[a-z]{1,190}", fullmatch=True),
).map(lambda text: text.encode("utf-8", "replace").decode())


@st.composite
def requests(draw: st.DrawFn) -> PathAndQuery:
    """Make a request to a documented operation, with any values and with missing or repeated parameters."""
    path = draw(st.sampled_from(sorted(OPERATIONS)))
    names = [parameter["name"] for parameter in OPERATIONS[path] if parameter["in"] == "query"]
    query = draw(st.lists(st.tuples(st.sampled_from([*names, *names, "other"]), texts), max_size=4))
    return path.replace("{email}", draw(texts)), urlencode(query) + draw(st.sampled_from(["", "&q=%ff", "&&", "&q"]))


def is_documented(request: PathAndQuery) -> bool:
    """Whether the request is valid according to the document."""
    path, query = request
    given = dict(parse_qsl(query, keep_blank_values=True))
    operation = next(name for name in OPERATIONS if re.fullmatch(re.sub("{.*}", ".*", name), path, re.DOTALL))
    for parameter in OPERATIONS[operation]:
        value = path.split("/", 2)[2] if parameter["in"] == "path" else given.get(parameter["name"])
        if value is None and parameter["required"]:
            return False
        python_takes_it_for_the_end = value is not None and value.endswith("\n")
        if value is not None and not Draft202012Validator(parameter["schema"]).is_valid(value):
            return False
        if python_takes_it_for_the_end:
            return False
    return True


async def statuses(requests: Sequence[PathAndQuery]) -> list[int]:
    """Return the status of each request. The tasks of a request finish before the next one is sent."""
    found: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    for path, query in requests:
        scope = {"type": "http", "method": "POST", "path": path, "query_string": query.encode(), "headers": []}
        await module.app(scope, receive, send)
    return found


@given(st.lists(requests(), max_size=8))
@example([("/send-notification/0/", "")])
@settings(max_examples=EXAMPLES // 4)
def test_example_accepts_what_its_document_allows(requests: list[PathAndQuery]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FOLDER", Path(folder))
        patch.setattr(module, "WORK_SECONDS", 0)
        answers = asyncio.run(statuses(requests))
        good = [request for request, status in zip(requests, answers, strict=True) if status == 200]
        written = {name: (Path(folder) / name) for name in ("README.md", "log.txt")}
        assert {name: path.read_text("utf-8") if path.exists() else "" for name, path in written.items()} == {
            name: "".join(text for request in good for file, text in writes_of(*request) if file == name)
            for name in written
        }
    assert set(answers) <= {200, 307, 404, 422}  # 307: without the slash at its end, the path is one of the app
    assert good == [request for request in requests if is_documented(request)]


@pytest.mark.parametrize("parameter", [each for parameters in OPERATIONS.values() for each in parameters])
def test_patterns_of_the_document_mean_the_same_to_javascript(parameter: dict[str, Any]) -> None:
    r"""ECMA-262 has no \U escape, and treats a character beyond U+FFFF in a class as two."""
    schema = parameter["schema"]
    pattern = schema.get("pattern") or schema["anyOf"][0]["pattern"]
    assert pattern.isascii()
    assert set(re.findall(r"\\(.)", pattern)) <= {"x", "u", "s", ".", "\\"}


# Journals


@given(journals.journals)
@settings(max_examples=EXAMPLES // 5)
def test_any_journal_is_read_and_shown(data: bytes) -> None:
    journals.check(data)


# Followed files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("followed")


def fresh(folder: Path) -> Path:
    """Return a path in a new folder."""
    return Path(tempfile.mkdtemp(dir=folder)) / "log.txt"


def take_items(file: FollowedFile, most: int | None = None) -> Iterator[Any]:
    """Yield at most ``most`` items that ``file`` has now."""
    while most != 0 and (item := file.take()) is not None:
        yield item
        most = None if most is None else most - 1


@given(steps(APPENDING), st.lists(st.integers(0, 4), min_size=12, max_size=12))
@settings(max_examples=EXAMPLES // 3)
def test_every_appended_byte_is_told_once_whenever_it_is_read(folder: Path, todo: list[Step], reads: list[int]) -> None:
    changing, output = ChangingFile(fresh(folder)), FollowerOutput()
    file = FollowedFile(changing.path)
    file.begin(1, at_end=True)
    behind = False
    for step, most in zip(todo, reads, strict=False):
        if step[0] == "rotate":
            if behind:  # more files than are kept open
                list(map(output.take, take_items(file)))
            behind = True
        changing.apply(step)
        file.refresh(2)
        list(map(output.take, take_items(file, most)))
    for _ in range(2):
        file.refresh(3)
        list(map(output.take, take_items(file)))
    file.close()
    assert output.data == changing.appended


LOOKS = ("", "look", "measure", "take", "look take", "look drain")


@example(0, [("append", 65), ("rewrite", 200), ("append", 5)], ["look drain"] * 3)
@example(0, [("append", 63), ("rewrite", 63)], ["look drain", ""])  # the size is the same
@given(st.integers(0, 3), steps(EVERYTHING), st.lists(st.sampled_from(LOOKS), min_size=12, max_size=12))
@settings(max_examples=EXAMPLES // 3)
def test_final_state_of_a_file_is_always_given(folder: Path, begin: int, todo: list[Step], looks: list[str]) -> None:
    changing, output = ChangingFile(fresh(folder)), FollowerOutput()
    changing.path.write_bytes(b"o" * begin)
    file = FollowedFile(changing.path)
    file.begin(1, at_end=True)
    for step, look in zip(todo, looks, strict=False):
        changing.apply(step)
        if "look" in look:
            file.refresh(2)
        if "measure" in look:
            file.measure(2)
        most = None if "drain" in look else int("take" in look)
        list(map(output.take, take_items(file, most)))
    for _ in range(2):
        file.refresh(3)
        list(map(output.take, take_items(file)))
    file.close()
    if changing.path.is_file():
        assert output.is_complete(changing.path, begin)


@pytest.mark.parametrize("poll", [False, True], ids=["kernel", "poll"])
@settings(max_examples=EXAMPLES // 10)
@given(todo=steps(EVERYTHING), pauses=st.lists(st.booleans(), min_size=12, max_size=12))
def test_follower_tells_what_the_file_is_in_the_end(
    folder: Path, poll: bool, todo: list[Step], pauses: list[bool]
) -> None:
    changing, output = ChangingFile(fresh(folder)), FollowerOutput()

    async def follow() -> None:
        async with Follower([changing.path], poll=poll) as follower:
            for step, pause in zip(todo, pauses, strict=False):
                changing.apply(step)
                if pause:
                    await asyncio.sleep(0)
            if not changing.path.is_file():
                changing.apply(("no folder", 0))
                changing.apply(("append", 9))
            while not output.is_complete(changing.path, 0):
                output.take(await anext(follower))

    asyncio.run(asyncio.wait_for(follow(), PATIENCE_S))
