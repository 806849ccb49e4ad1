"""One request as the journal of its server recorded it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastbg.evidence.tasks import Mark, Task, marks_ms, ms_between, spans_ms
from fastbg.evidence.trace import Write
from fastbg.evidence.verdict import UNFINISHED, Judgement, ServerRecord


@dataclass(slots=True, eq=False)
class RecordedRequest:
    """One request as a server process recorded it, complete when `JournalAggregator` has judged it.

    ``host``: None in a journal of an older fastbg. ``journal``: the name of its journal. ``received_ns``: monotonic, of
    the boot ``boot``. ``wall_ns``: the same moment as wall-clock time. ``more_tasks``: number of tasks that are not in
    ``tasks``. ``part``: the heading above it, in a report of several hosts or journals. ``x_request_id``: the header
    that the client sent. ``finished_ns``: when the app's call ended, None if the journal does not say so. ``writes``:
    what was seen in files, empty in a report: a journal records no writes. ``is_over``: False while more events may
    come.
    """

    request_id: str
    journal: str
    host: str | None
    boot: str
    pid: int
    method: str
    path: str
    received_ns: int
    wall_ns: int
    x_request_id: str | None = None
    server: ServerRecord = field(default_factory=ServerRecord)
    tasks: Sequence[Task] = ()
    more_tasks: int = 0
    judgement: Judgement = Judgement("unproven", (), UNFINISHED)  # noqa: RUF009  # frozen
    part: str = ""
    finished_ns: int | None = None
    writes: Sequence[Write] = ()
    is_over: bool = True

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def ms(self, t_ns: int | None) -> float | None:
        """Return a monotonic time of the same boot in milliseconds since the server received the request."""
        return ms_between(self.received_ns, t_ns)

    @property
    def response_ms(self) -> float | None:
        """The time at which the server had sent the response."""
        return self.ms(self.server.sent.left_ns) if self.server.sent else None

    @property
    def waited_ms(self) -> float | None:
        return self.response_ms

    @property
    def done_ms(self) -> float | None:
        """The time at which the last task had ended."""
        return self.ms(max((task.ended_ns for task in self.tasks if task.ended_ns is not None), default=None))

    @property
    def spans_ms(self) -> list[tuple[float, float | None]]:
        return spans_ms(self.tasks, self.ms)

    @property
    def marks_ms(self) -> list[tuple[float | None, Mark]]:
        return marks_ms([task for task in self.tasks if task.started_ns is not None or not task.is_open], self.ms)

    @property
    def writes_ms(self) -> Sequence[float]:
        return [self.ms(write.t_ns) or 0.0 for write in self.writes]
