"""The steps of a run: which requests each one has, and what the keys do."""

import asyncio
from pathlib import Path

import pytest

from fastbg.run.prepare import RequestTemplate, RunPaths
from fastbg.run.stepping import Action, Pause, Step, run_steps, steps_of
from fastbg.scripting.model import Part
from fastbg.scripting.reader import read_script

GO, AGAIN, QUIT = Action.CONTINUE, Action.REPEAT, Action.QUIT


def request(name: str, after: str = "responses") -> str:
    return f'[[part.request]]\nname = "{name}"\npath = "/"\nafter = "{after}"\n'


SCRIPT = "\n".join(
    (
        'app = "shop:app"\n[[part]]\nname = "trap"',
        request("a", "meanwhile"), request("b", "meanwhile"), request("c", "tasks"),
        '[[part]]\nname = "remedy"',
        request("d"),
    )
)  # fmt: skip


def steps() -> list[Step]:
    source = read_script(SCRIPT, "shop.toml", Path(), {})
    paths = RunPaths.of(source, Path(), {})
    return [
        step
        for part in source.script.parts
        for step in steps_of(part, [RequestTemplate(source, part, n, paths) for n in range(len(part.requests))])
    ]


def names(step: Step) -> str:
    return " ".join(template.request.name for template in step.templates)


def run(*actions: Action) -> tuple[int, list[str]]:
    """Run the steps with ``actions`` at the pauses. Return the number of completed steps, and what happened."""
    happened: list[str] = []
    left = iter(actions)

    async def pause(pause: Pause) -> Action:
        happened.append(f"{pause.number}?")
        return next(left)

    async def serve(part: Part) -> None:
        happened.append(part.name)

    async def send(step: Step) -> None:
        happened.append(names(step))

    done = asyncio.run(run_steps(steps(), pause, serve, send))
    assert next(left, None) is None
    return done, happened


def test_step_has_a_request_and_those_sent_meanwhile() -> None:
    assert [names(step) for step in steps()] == ["a b", "c", "d"]


def test_each_step_waits_for_its_pause_and_its_server() -> None:
    assert run(GO, GO, GO, GO) == (3, ["trap", "0?", "a b", "1?", "c", "2?", "remedy", "d", "3?"])


def test_last_step_is_sent_again_to_its_own_server() -> None:
    done, happened = run(GO, GO, AGAIN, AGAIN, GO, AGAIN, GO)
    assert done == 3
    assert happened[5:] == [
        "2?", "trap", "c #2", "2?", "trap", "c #3", "2?", "remedy", "d", "3?", "remedy", "d #2", "3?",
    ]  # fmt: skip


@pytest.mark.parametrize("number", [0, 1, 2])
def test_quit_sends_nothing_more(number: int) -> None:
    done, happened = run(*[GO] * number, QUIT)
    assert (done, happened[-1]) == (number, f"{number}?")


def test_request_that_is_sent_again_keeps_its_line() -> None:
    step = steps()[1]
    assert step.again(2).templates[0].line == step.templates[0].line
    assert SCRIPT.splitlines()[step.templates[0].line].endswith('"c"')
