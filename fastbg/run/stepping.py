"""The steps of a run with ``--step``: a pause before each, and after the last one."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastbg.run.prepare import RequestTemplate
    from fastbg.scripting.model import Part


class Action(Enum):
    """What to do after a pause."""

    CONTINUE = auto()
    REPEAT = auto()  # send the requests of the last step again
    QUIT = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """Requests of ``part`` that are sent without a pause: one, and those that are sent meanwhile."""

    part: "Part"
    templates: "tuple[RequestTemplate, ...]"

    @property
    def requests(self) -> int:
        return sum(template.request.repeat for template in self.templates)

    def again(self, number: int) -> "Step":
        """Return the step with ``#number`` in the names of its requests, so that reports show every result."""
        renamed = (template.renamed(f"{template.request.name} #{number}") for template in self.templates)
        return Step(self.part, tuple(renamed))


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause. ``steps``: all steps of the run. ``number``: how many of them have been done."""

    steps: Sequence[Step]
    number: int

    @property
    def next(self) -> Step | None:
        return self.steps[self.number] if self.number < len(self.steps) else None

    @property
    def last(self) -> Step | None:
        return self.steps[self.number - 1] if self.number else None


def steps_of(part: "Part", templates: "Sequence[RequestTemplate]") -> list[Step]:
    groups: list[list[RequestTemplate]] = []
    for template in templates:
        if groups and template.request.after == "meanwhile":
            groups[-1].append(template)
        else:
            groups.append([template])
    return [Step(part, tuple(group)) for group in groups]


async def run_steps(
    steps: Sequence[Step],
    pause: Callable[[Pause], Awaitable[Action]],
    serve: "Callable[[Part], Awaitable[None]]",
    send: Callable[[Step], Awaitable[None]],
) -> int:
    """Run the steps, with a pause before each and after the last one. Return the number of completed steps.

    ``serve`` starts the server of a part if it does not run. ``send`` sends a step and waits for its tasks.
    """
    done, times = 0, 1  # times: how often the last step was sent
    served = steps[0].part
    await serve(served)
    while True:
        action = await pause(Pause(steps, done))
        if action is Action.QUIT or (action is Action.CONTINUE and done == len(steps)):
            return done
        if action is Action.REPEAT:
            times += 1
            step = steps[done - 1].again(times)
        else:
            step, done, times = steps[done], done + 1, 1
        if times > 1 or step.part is not served:  # its signal may have stopped the server
            served = step.part
            await serve(served)
        await send(step)
