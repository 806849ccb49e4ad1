"""The events of the journal. One function per event makes its line, a JSON object in ASCII, from typed fields.

Every line has ``t_ns`` (now by default), ``wall_ns``, ``host``, ``boot``, ``pid``, ``event`` and ``request``. The
arguments of the function follow. A field that is None is omitted; ``request``, ``status`` and ``buffered`` are null.

The functions for the events of most requests make their line in one expression: each call of another function costs
as much as a fifth of the line. So ``request`` and ``task`` are already JSON: `request_text` and `task_text` make them
once.
"""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from json.encoder import encode_basestring_ascii
from typing import Literal

from fastbg.clock import coarse_time_ns, monotonic_ns
from fastbg.events import boot_id
from fastbg.recorder.processes import pid_namespace, start_ticks

_SERVERS = {  # package to a module that only serves
    "uvicorn": "uvicorn.server",
    "gunicorn": "gunicorn.workers.gasgi",
    "hypercorn": "hypercorn.asyncio",
    "granian": "granian.asgi",
}
MAX_NAMES = 10  # of tasks in one line
MAX_CACHED = 200  # characters of a path, so that the cache stays small
STAMP_NS = 5_000_000  # ``wall_ns`` is read at most so often, and is up to 10 ms late itself

Line = bytes  # with its LF
JsonText = str
DropReason = Literal[
    "exception", "earlier-task-failed", "own-response", "after-response", "never-called", "broker", "unknown"
]
WorkerEvent = Literal["task_started", "task_retried", "task_finished", "task_failed"]


def recording_started(server: str | None) -> Line:
    """Make the line of a process that begins to record.

    ``server``: name of the package that serves; None for the only one of `_SERVERS` that is imported.
    ``server_version``: of this package. ``manager``: Gunicorn, if it has started the process of another server.
    ``pid_namespace``, ``start_ticks``: see `fastbg.recorder.processes`. ``run``: the id of the command ``fastbg run``.
    """
    imported = [name for name, module in _SERVERS.items() if module in sys.modules]
    server = server or (imported[0] if len(imported) == 1 else None)
    fields = f',"python":{_text(platform.python_version())}'
    if server is not None:
        fields += f',"server_name":{_text(server)},"server_version":{_text(_version(server))}'
    if server != "gunicorn" and "gunicorn.arbiter" in sys.modules:
        fields += f',"manager":{_text("gunicorn " + _version("gunicorn"))}'
    for name, number in (("pid_namespace", pid_namespace()), ("start_ticks", start_ticks())):
        fields += "" if number is None else f',"{name}":{number}'
    if run := os.environ.get("FASTBG_RUN"):
        fields += f',"run":{_text(run)}'
    return _line("recording_started", None, fields)


def request_text(request_id: str) -> JsonText:
    """Return the id of a request as JSON."""
    return encode(request_id, 300)


@lru_cache(1024)
def task_text(task: str, n: int) -> JsonText:
    """Return the fields of a task as JSON. ``task``: module.qualname. ``n``: its number in the request, from 0."""
    return f'"task":{_text(task)},"n":{n}'


def request_received(request: JsonText, method: str, path: str, t_ns: int, x_request_id: str | None = None) -> Line:
    """Make the line of a request that the app gets. ``x_request_id``: the client's ``X-Request-ID``."""
    if t_ns > _stamp_end_ns:
        _renew_stamp()
    sent = "" if x_request_id is None else f',"x_request_id":{_text(x_request_id)}'
    route = _route(method, path) if len(path) <= MAX_CACHED else _route.__wrapped__(method, path)
    return (f'{{"t_ns":{t_ns},{_stamp}"event":"request_received","request":{request},{route}{sent}}}\n').encode("ascii")


def task_queued(
    request: JsonText, task: JsonText, *, where: Literal["worker"] | None = None, detail: str | None = None
) -> Line:
    """Make the line of a task that was queued, or was passed directly to a response and is about to start.

    ``where``: "worker" if it is sent to a broker. ``detail``: what is unusual about it.
    """
    if (t_ns := monotonic_ns()) > _stamp_end_ns:
        _renew_stamp()
    more = "" if where is None and detail is None else f"{_where(where)}{_detail(detail)}"
    return f'{{"t_ns":{t_ns},{_stamp}"event":"task_queued","request":{request},{task}{more}}}\n'.encode("ascii")


def response_sent(
    request: JsonText,
    t_ns: int,
    status: int | None,
    size: int,
    sending_ns: int,
    buffered: int | None,
    files: Mapping[str, int] | None = None,
    files_after: Mapping[str, int] | None = None,
    changed: Sequence[str] = (),
    detail: str | None = None,
) -> Line:
    """Make the line of a response whose last byte the server has accepted.

    ``t_ns``, ``sending_ns``: just after and just before this byte was sent. ``size``: of the body up to it, in bytes.
    ``files``: path to size in bytes just before, only if the client sent an id. ``files_after``: just after, only if it
    differs. ``changed``: the files among them that changed between the request and this moment, also if they kept their
    size. ``buffered``: bytes that are still in the server process, None if unknown. ``detail``: why it is unknown.

    Why ``buffered``: uvloop up to 0.22 sends nothing (below 64 KiB) before the current step of the event loop ends. An
    ``async def`` task that blocks the loop then delays its own response, and ``buffered`` is the size of the response.
    asyncio and uvloop 0.23 immediately send what the kernel accepts, and buffer the rest of a big response (some
    megabytes).
    """
    if t_ns > _stamp_end_ns:
        _renew_stamp()
    more = "" if files is None else f"{_files('files', files)}{_files('files_after', files_after)}{_changed(changed)}"
    return (
        f'{{"t_ns":{t_ns},{_stamp}"event":"response_sent","request":{request},'
        f'"status":{"null" if status is None else status},"bytes":{size},"sending_ns":{sending_ns}{more},'
        f'"buffered":{"null" if buffered is None else buffered}{"" if detail is None else _detail(detail)}}}\n'
    ).encode("ascii")


def response_held(request: JsonText, *, buffered: int, t_ns: int, files: Mapping[str, int] | None) -> Line:
    """Make the line of a later look at a response that was not completely sent: ``buffered`` bytes were held.

    ``t_ns``: they were still held then; with 0 all had been sent to the kernel by then. ``files``: path to size after
    that, as in `response_sent`.
    """
    return _line("response_held", request, f',"buffered":{buffered}{_files("files", files)}', t_ns)


def response_lost(request: JsonText, *, t_ns: int, status: int | None, detail: str | None = None) -> Line:
    """Make the line of a response whose last byte was not sent. ``detail``: None if the client had disconnected."""
    return _line("response_lost", request, f',"status":{_nullable(status)}{_detail(detail)}', t_ns)


def task_started(
    request: JsonText,
    task: JsonText,
    thread_id: int | None = None,
    *,
    t_ns: int | None = None,
    waited_ms: float | None = None,
    detail: str | None = None,
) -> Line:
    """Make the line of a task that starts.

    ``thread_id``: of its own thread, as the kernel numbers them, None in the event loop. ``waited_ms``: the wait for
    this thread. ``detail``: why it starts before the response is sent, if that is known.
    """
    if (t_ns := t_ns or monotonic_ns()) > _stamp_end_ns:
        _renew_stamp()
    where = '"loop"' if thread_id is None else f'"thread","thread_id":{thread_id}{_waited(waited_ms)}'
    return (
        f'{{"t_ns":{t_ns},{_stamp}"event":"task_started","request":{request},{task},'
        f'"where":{where}{"" if detail is None else _detail(detail)}}}\n'
    ).encode("ascii")


def loop_blocked(
    request: JsonText | None, *, ms: float, task: JsonText | None, place: str = "", path: str = ""
) -> Line:
    """Make the line of code that blocked the event loop for ``ms`` milliseconds.

    ``task``: an ``async def`` task whose step did so, from one ``await`` that waits to the next.
    Only steps longer than `steps.BLOCKED_NS` are recorded. Without a task ``ms`` is the least time, ``place`` the
    innermost frame of the user's code as ``file:line in function``, and ``path`` that of the request, empty outside of
    requests.
    """
    what = f'"place":{_text(place)},"path":{_text(path)}' if task is None else task
    return _line("loop_blocked", request, f',{what},"ms":{ms:.3f}')


def task_finished(request: JsonText, task: JsonText, *, t_ns: int | None = None) -> Line:
    if (t_ns := t_ns or monotonic_ns()) > _stamp_end_ns:
        _renew_stamp()
    return f'{{"t_ns":{t_ns},{_stamp}"event":"task_finished","request":{request},{task}}}\n'.encode("ascii")


def task_failed(request: JsonText, task: JsonText, *, t_ns: int, error: str, traceback: str | None) -> Line:
    """Make the line of a task that raised ``error``. A cancelled task fails with "CancelledError".

    ``traceback``: as `tracebacks` describes the exception, None if it is unknown.
    """
    return _line("task_failed", request, f",{task}{_error(error)}{_traceback(traceback)}", t_ns)


def task_dropped(
    request: JsonText, task: JsonText, *, status: int | None, reason: DropReason, detail: str
) -> Line:  # fmt: skip
    """Make the line of a task that had not started when its request ended, and will never start.

    With ``reason`` "never-called" it was made and not queued.
    ``reason`` "broker": the broker did not confirm the task. ``detail``: the reason as a text for the user.
    """
    fields = f',{task},"status":{_nullable(status)},"reason":"{reason}","detail":{_text(detail)}'
    return _line("task_dropped", request, fields)


def request_finished(
    request: JsonText, *, files: Mapping[str, int] | None, error: str | None, traceback: str | None
) -> Line:
    """Make the line of a request after the app's call has ended, including the background tasks.

    ``files``: as in `response_sent`. ``error``, ``traceback``: the exception that the app raised, if any.
    """
    if (t_ns := monotonic_ns()) > _stamp_end_ns:
        _renew_stamp()
    more = "" if files is None and error is None else f"{_files('files', files)}{_error(error)}{_traceback(traceback)}"
    return f'{{"t_ns":{t_ns},{_stamp}"event":"request_finished","request":{request}{more}}}\n'.encode("ascii")


def shutdown(*, unfinished: int, requests: int, tasks: Sequence[str], since_ns: int, waits: bool) -> Line:
    """Make the line of a server that shuts down, or exits immediately, with ``unfinished`` tasks queued or running.

    ``requests``: number of requests that have no such task, and are not finished. ``tasks``: names of the first
    `MAX_NAMES` of these tasks. ``since_ns``: when this process began to serve; an earlier process may have had its id.
    ``waits``: the server still waits for all of them. Otherwise uvicorn has cancelled the requests: tasks that end
    through this have failed or are dropped; tasks in threads continue.
    """
    names = ",".join(map(_text, tasks[:MAX_NAMES]))
    return _line(
        "shutdown",
        None,
        f',"unfinished":{unfinished},"requests":{requests},"tasks":[{names}],"since_ns":{since_ns}'
        f',"waits":{"true" if waits else "false"}',
    )


def events_lost(*, count: int) -> Line:
    """Make the line that replaces ``count`` events of this process that could not be written."""
    return _line("events_lost", None, f',"count":{count}')


def task_in_worker(
    event: WorkerEvent,
    request_id: str | None,
    task: str,
    n: int,
    *,
    worker: str,
    server: str,
    error: str | None = None,
    traceback: str | None = None,
    files: Mapping[str, int] | None = None,
) -> Line:
    """Make a line of a queue's worker.

    A task starts again if its message is delivered again. "task_retried": it raised ``error`` and was queued again.
    "task_failed": it is not tried again. ``worker``: name and host. ``server``: boot id and process id of the server
    that queued the task. ``files``: path to size in bytes when the task ended, before the worker confirms it to the
    broker.
    """
    who = f',{task_text(task, n)},"where":"worker","worker":{encode(worker, 200)},"server":{encode(server, 200)}'
    request = None if request_id is None else request_text(request_id)
    return _line(event, request, f"{who}{_error(error)}{_traceback(traceback)}{_files('files', files)}")


def encode(text: str, limit: int) -> str:
    """Encode ``text`` as a JSON string of at most ``limit`` bytes, quotes included. A longer text is cut at its end."""
    encoded = encode_basestring_ascii(text[:limit])
    if len(encoded) > limit:
        # A character needs up to 12 bytes, the "…" 6 and the quotes 2.
        encoded = encode_basestring_ascii(text[: (limit - 8) // 12] + "…")
    return encoded


_text = partial(encode, limit=1000)
_lines = partial(encode, limit=50_000)  # of a traceback: 4000 characters
_path = lru_cache(1024)(partial(encode, limit=5000))  # of a followed file


@lru_cache(1024)
def _route(method: str, path: str) -> str:
    return f'"method":{_text(method)},"path":{_text(path)}'


def _where(where: str | None) -> str:
    return "" if where is None else f',"where":"{where}"'


def _waited(waited_ms: float | None) -> str:
    return "" if waited_ms is None else f',"waited_ms":{waited_ms:.3f}'


def _error(error: str | None) -> str:
    return "" if error is None else f',"error":{_text(error)}'


def _detail(detail: str | None) -> str:
    return "" if detail is None else f',"detail":{_text(detail)}'


def _traceback(traceback: str | None) -> str:
    return "" if traceback is None else f',"traceback":{_lines(traceback)}'


def _files(name: str, files: Mapping[str, int] | None) -> str:
    if files is None:
        return ""
    return f',"{name}":{{' + ",".join([f"{_path(path)}:{size}" for path, size in files.items()]) + "}"


def _changed(files: Sequence[str]) -> str:
    return f',"changed":[{",".join(map(_path, files))}]' if files else ""


def _nullable(number: int | None) -> str:
    return "null" if number is None else str(number)


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and needed once

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


_process = ""
_stamp = ""  # the fields from ``wall_ns`` to ``pid``
_stamp_end_ns = 0


def _name_process() -> None:
    global _process, _stamp_end_ns
    _process = f'"host":{encode(platform.node(), 80)},"boot":{encode(boot_id(), 80)},"pid":{os.getpid()}'
    _stamp_end_ns = 0


def _renew_stamp() -> None:
    """Read the wall clock. Most lines then need only the other clock."""
    global _stamp, _stamp_end_ns
    t_ns = monotonic_ns()
    _stamp = f'"wall_ns":{coarse_time_ns()},{_process},'
    _stamp_end_ns = t_ns + STAMP_NS


_name_process()
os.register_at_fork(after_in_child=_name_process)


def _line(event: str, request: JsonText | None, fields: str, t_ns: int | None = None) -> Line:
    if (t_ns := t_ns or monotonic_ns()) > _stamp_end_ns:
        _renew_stamp()
    return f'{{"t_ns":{t_ns},{_stamp}"event":"{event}","request":{request or "null"}{fields}}}\n'.encode("ascii")
