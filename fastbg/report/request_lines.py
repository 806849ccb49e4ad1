"""The requests of a journal, and what their tasks wrote, as lines for people.

On a terminal: a line for the response of each request, and below it a line for each write of its tasks, and for what
did not go well. No line is longer than the terminal. In a pipe each line stands alone: it repeats method, path, status
and response time, and ends with the whole text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from fastbg.events import LOST, Event, Notice
from fastbg.evidence.activity import ActiveRequest, ActiveTask
from fastbg.follow.lines import Piece
from fastbg.recorder.request_ids import uuid_of
from fastbg.report.delays import typed_place
from fastbg.report.line_layout import When, label, split, terminal_columns, tree_for, width_of
from fastbg.report.lines import LONG_WAIT_MS, Entry, Sighting
from fastbg.report.moments import exact_time, of_this_boot, utc, wall_ns_of, wall_ns_of_event
from fastbg.report.numbers import milliseconds
from fastbg.report.text_lines import CONTINUED, LineStyles, Paint, Part, print_notice
from fastbg.text import escape_control

MAX_WIDTH = 100  # columns; on a wider terminal only the text may be longer
END_NEWS_NS = 100_000_000  # the end of a task is worth a line if its last write is older

MAX_CONTINUED = 3  # more lines for the reason of a failure

ID_STYLES = ("bold cyan", "bold yellow", "bold green", "bold magenta", "bold blue")


BEFORE = When("before the response", "before", "magenta")
UNKNOWN_ORDER = When("order not known", "order?", "yellow")
OTHER_BOOT = When("another boot", "boot?", "yellow")


class RequestPrinter:
    """Prints requests and writes. ``optional``: files that may not exist; nothing is printed about that."""

    def __init__(self, names: dict[Path, str], output: TextIO, optional: Iterable[Path] = ()) -> None:
        self._names = {path: escape_control(name) for path, name in names.items()}
        self._output = output
        self._optional = frozenset(optional)
        self._paint = Paint(output)
        self._is_terminal = output.isatty()
        self._tree = tree_for(output.encoding or "ascii")
        self._styled = LineStyles()
        self._hour = ""

    def piece(self, path: Path, piece: Piece, sighting: Sighting | None) -> None:
        more = f" {self._tree.cut} {piece.cut:,} more bytes" if piece.cut else ""
        if not piece.text.strip() and not more:
            return
        continued = [(CONTINUED, "dim")] if piece.continued else []
        text: list[Part] = [*continued, *self._styled(path, piece), (more, "dim italic")]
        name: Part = (self._names.get(path, str(path)), "cyan")
        if sighting is None:
            self._write(None, None, "", [name, ("  ", ""), *text])
            return
        wall_ns, request = wall_ns_of(sighting.t_ns), sighting.writer
        if request is None:
            self._write(wall_ns, None, self._tree.unknown, [name, ("  ", ""), *text])
            return
        order = request.order_of_write(
            str(path.absolute()), piece.offset, sighting.end, sighting.earliest_ns, sighting.t_ns
        )
        mark = self._mark(request, sighting.t_ns, last=sighting.last)
        if order == "after" or mark == self._tree.before:
            when = self._when(request, sighting.t_ns)
        else:
            when = UNKNOWN_ORDER if order == "unknown" else BEFORE
        self._write(wall_ns, request, mark, [name, ("  ", ""), *text], when)

    def event(self, entry: Entry, *, last: bool) -> None:
        event, request = entry.event, entry.request
        if request is None:
            self._event_alone(event)
            return
        wall_ns = wall_ns_of_event(event)
        unanswered = event.name == "request_finished" and request.response_ns is None
        if unanswered or event.name in ("response_sent", "response_lost"):
            self._write_request(wall_ns, request, self._response(request))
        if line := self._of_request(event, request):
            mark = self._mark(request, event.t_ns, last=last)
            when = self._when(request, event.t_ns, of_this_boot(event))
            self._write(wall_ns, request, mark, line, when, whole=True)

    def foreign(self, path: Path, text: str, seen_ns: int | None) -> None:
        wall_ns = None if seen_ns is None else wall_ns_of(seen_ns)
        line: list[Part] = [(self._names.get(path, str(path)), "cyan"), ("  not an event: ", "yellow")]
        self._write(wall_ns, None, self._tree.unknown, [*line, (escape_control(text), "dim")])

    def overdue(self, request: ActiveRequest, task: ActiveTask | None, now_ns: int) -> None:
        wall_ns = wall_ns_of(now_ns)
        if task is None:
            waited = milliseconds((now_ns - request.received_ns) / 1e6)
            self._write_request(wall_ns, request, [(f" {self._tree.arrow} no response for {waited} ms", "yellow")])
            return
        what = "waits for a worker" if task.where == "worker" else "waits to start"
        line = [(_short(task.name), "bold"), (f" {what}", "yellow")]
        self._write(wall_ns, request, self._tree.more, line, self._when(request, now_ns))

    def lost(self, request: ActiveRequest, now_ns: int) -> None:
        wall_ns = wall_ns_of(now_ns)
        why: Part = (f"server process {request.pid} has ended", "")
        if request.response_ns is None:
            self._write_request(wall_ns, request, [(f" {self._tree.arrow} lost: ", "bold red"), why])
        for task in request.tasks.values():
            if not task.ended and task.where != "worker":
                line = [(_short(task.name), "bold"), (" lost: ", "bold red"), why]
                self._write(wall_ns, request, self._tree.more, line)

    def notice(self, notice: Notice) -> None:
        if notice.kind == "appeared" or (notice.kind == "missing" and notice.path in self._optional):
            return
        self.flush()  # a terminal shows standard output and standard error together
        print_notice(notice)

    def flush(self) -> None:
        self._output.flush()

    def close(self) -> None:
        self.flush()

    def _event_alone(self, event: Event) -> None:
        """Print an event that belongs to no request, or to one whose start was not read."""
        detail, wall_ns = event.detail, wall_ns_of_event(event)
        if event.name == "shutdown":
            self._write(wall_ns, None, "", [(_shutdown(detail), "yellow")], whole=True)
        elif event.name == LOST:
            text = f"{detail.get('count', '?')} events could not be written to the journal: requests may be missing"
            self._write(wall_ns, None, "", [(text, "bold yellow")])
        elif event.name == "loop_blocked" and "place" in detail:
            self._write(wall_ns, None, "", _task(event), whole=True)
        elif event.name in ("task_failed", "task_dropped"):
            line = [*_task(event), ("  of an earlier request", "dim")]
            self._write(wall_ns, None, self._tree.unknown, line, whole=True)

    def _of_request(self, event: Event, request: ActiveRequest) -> list[Part]:
        """Return the line of an event below its request, empty if it has none."""
        detail = event.detail
        if event.name == "request_finished":
            error = request.error
            return [("raised ", "bold red"), (escape_control(error), "")] if error and not request.failed_tasks else []
        task = request.tasks.get(detail.get("n", -1))
        if event.name == "task_finished" and task is not None:
            is_news = task.wrote_ns is None or event.t_ns - task.wrote_ns > END_NEWS_NS
            return [(_short(task.name), "bold"), (" finished", "")] if is_news else []
        return _task(event)

    def _response(self, request: ActiveRequest) -> list[Part]:
        arrow, ms = f" {self._tree.arrow} ", milliseconds(request.response_ms)
        if request.response_ns is None:
            return [(f"{arrow}no response", "bold red")]
        if request.not_sent:
            return [(f"{arrow}{escape_control(request.not_sent)}", "yellow"), (f" ({ms} ms)", "")]
        status = "?" if request.status is None else str(request.status)
        return [(arrow, "dim"), (status, _status_style(request.status)), (f" in {ms} ms", "")]

    def _when(self, request: ActiveRequest, t_ns: int, comparable: bool = True) -> When | None:
        """Return the time between the response and ``t_ns``, None if the response was not sent."""
        if request.not_sent:
            return None
        if not comparable or not request.this_boot:
            return OTHER_BOOT
        if request.response_ns is None:
            return BEFORE
        ms = (t_ns - request.response_ns) / 1e6
        what = "response" if request.sent is not None and request.sent.buffered == 0 else "send"
        side, sign, style = ("before", "-", "magenta") if ms < 0 else ("after", "+", "green")
        amount = f"{milliseconds(abs(ms))} ms"
        return When(f"{amount} {side} the {what}", f"{sign}{amount}", style)

    def _mark(self, request: ActiveRequest, t_ns: int, *, last: bool) -> str:
        """Return the mark of a line: the line of its request is above, unless the response comes later."""
        if request.response_ns is None or t_ns < request.response_ns:
            return self._tree.before
        return self._tree.last if last else self._tree.more

    def _write_request(self, wall_ns: int | None, request: ActiveRequest, end: list[Part]) -> None:
        self._write(wall_ns, request, "", _request(request), end=end)

    def _write(
        self, wall_ns: int | None, request: ActiveRequest | None, mark: str, line: list[Part],
        when: When | None = None, end: Sequence[Part] = (), whole: bool = False,
    ) -> None:  # fmt: skip
        """Write a line. ``end``: parts after ``line`` that are not cut. ``when``: at the right.

        ``whole``: a line that is too long is continued on the next line, instead of cut.
        """
        if not self._is_terminal:
            self._print(self._plain_line(wall_ns, request, mark, line, when, end))
            return
        for parts in self._terminal_lines(wall_ns, request, mark, line, when, end, whole=whole):
            self._print(parts)

    def _print(self, parts: Iterable[Part]) -> None:
        self._output.write("".join(self._paint(text, style) for text, style in parts) + "\n")

    def _plain_line(
        self, wall_ns: int | None, request: ActiveRequest | None, mark: str, line: list[Part],
        when: When | None, end: Sequence[Part],
    ) -> list[Part]:  # fmt: skip
        parts: list[Part] = [(f"{exact_time(wall_ns) or '-':<12}  ", "dim")]
        if request is None:
            return [*parts, *([(f"{mark}  ", "dim")] if mark else []), *line]
        request_id = (f"  [{escape_control(_ids(request))}]", "dim")
        if not mark:
            return [*parts, *line, *end, request_id]
        parts += [*_request(request), *self._response(request), request_id]
        return [*parts, *([("  ", ""), (when.long, when.style)] if when else []), ("  ", ""), *line]

    def _terminal_lines(
        self, wall_ns: int | None, request: ActiveRequest | None, mark: str, line: list[Part],
        when: When | None, end: Sequence[Part], *, whole: bool,
    ) -> Iterator[list[Part]]:  # fmt: skip
        """Yield a line that fits the terminal: time, mark, ``line``, and at the right ``when`` and the short id."""
        columns, time = terminal_columns(), exact_time(wall_ns)
        yield from self._new_hour(wall_ns, time)
        left: list[Part] = [(f"{time[3:] or '-':<9}  ", "dim"), *([(f"{mark} ", "dim")] if mark else [])]
        right: list[Part] = []
        if request is not None:
            right = [(f" {label(request.number)}", ID_STYLES[request.number % len(ID_STYLES)])]
        used, wanted = width_of(left) + width_of(end) + width_of(right), width_of(line)
        if when is not None:
            fits = used + wanted + 1 + len(when.long) <= columns
            right.insert(0, (f" {when.long if fits else when.short}", when.style))
            used += len(right[0][0])
        space = max(min(columns, MAX_WIDTH) - used, min(columns - used, wanted), 0)
        fitted, rest = split(line, space, "" if whole else self._tree.cut)
        yield [*left, *fitted, *end, (" " * max(space - width_of(fitted), 0), ""), *right]
        for _ in range(MAX_CONTINUED if whole else 0):
            if rest:
                fitted, rest = split(rest, max(columns - 13, 1), "")
                yield [(" " * 13, ""), *fitted]

    def _new_hour(self, wall_ns: int | None, time: str) -> Iterator[list[Part]]:
        """Yield a line with the date and the hour if the hour is new: the other lines have minutes and seconds."""
        if time and time[:2] != self._hour and wall_ns is not None:
            self._hour = time[:2]
            moment = utc(wall_ns)
            day = "" if moment is None else moment.astimezone().strftime("%Y-%m-%d ")
            yield split(
                [(f"{day}{self._hour}:00, times in minutes:seconds", "dim")], terminal_columns(), self._tree.cut
            )[0]


def _ids(request: ActiveRequest) -> str:
    """Return the id of a request, and the client's own ``X-Request-ID``."""
    sent = request.x_request_id
    own = "" if sent in (None, uuid_of(request.request_id)) else f", X-Request-ID: {sent}"
    return request.request_id + own


def _request(request: ActiveRequest) -> list[Part]:
    return [(escape_control(request.method), "bold"), (f" {escape_control(request.path)}", "")]


def _task(event: Event) -> list[Part]:
    """Return the line of a task's event, empty if it has none."""
    detail = event.detail
    name: Part = (_short(str(detail.get("task", "?"))), "bold")
    error = escape_control(str(detail.get("error", "")))
    match event.name:
        case "task_failed":
            return [name, (" failed: ", "bold red"), (error, "")]
        case "task_dropped":
            why = str(detail.get("detail") or detail.get("reason") or "no reason recorded")
            return [name, (" dropped: ", "bold red"), (escape_control(why), "")]
        case "task_retried":
            return [name, (" failed, and is queued again: ", "yellow"), (error, "")]
        case "loop_blocked":
            if "place" in detail:
                name = (escape_control(typed_place(str(detail["place"]))), "bold")
            return [name, (f" blocked the event loop for {milliseconds(detail.get('ms'))} ms", "bold yellow")]
        case "task_started" if detail.get("waited_ms", 0.0) >= LONG_WAIT_MS:
            return [name, (f" waited {milliseconds(detail['waited_ms'])} ms for a thread", "yellow")]
        case "task_queued" | "task_started" if detail.get("detail"):
            verb = " was queued: " if event.name == "task_queued" else " started: "
            return [name, (verb, "yellow"), (escape_control(str(detail["detail"])), "")]
    return []


def _shutdown(detail: Mapping[str, Any]) -> str:
    names = [_short(name) for name in detail.get("tasks", ())]
    tasks, requests = detail.get("unfinished", len(names)), detail.get("requests", 0)
    counts = [(tasks, "task"), (requests, "request")]
    unfinished = " and ".join(f"{count} unfinished {what}{'s' * (count > 1)}" for count, what in counts if count)
    if tasks > len(names) > 0:
        names.append(f"{tasks - len(names)} more")
    does = "waits for" if detail.get("waits") else "shuts down with"
    named = f": {', '.join(names)}" if names else ""
    return f"server process {detail.get('pid')} {does} {unfinished or 'no unfinished task'}{named}"


def _short(task: str) -> str:
    """Return the last part of ``module.qualname``."""
    return escape_control(task.rpartition(".")[2] or task)


def _status_style(status: int | None) -> str:
    if status is None or status >= 500:
        return "bold red"
    return "bold yellow" if status >= 400 else "bold green"
