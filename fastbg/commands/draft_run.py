"""Runs a drafted script once, to see what its requests do."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from fastbg.commands.demo import run_to_end
from fastbg.commands.demo_options import GRACE_S
from fastbg.data_folder import server_log_of
from fastbg.evidence.results import RequestResult, RunResult
from fastbg.run.folder_changes import FolderChanges
from fastbg.run.options import RunOptions
from fastbg.run.runner import Runner
from fastbg.run.stepping import Action, Pause
from fastbg.scripting.outcome import Outcome, last_names
from fastbg.server.log_file import ServerLog
from fastbg.server.settings import ServerSettings

if TYPE_CHECKING:
    from fastbg.scripting.reader import Source

Writes = list[tuple[str, str]]


def run_draft(source: "Source", directory: Path, work: float) -> tuple[RunResult, Mapping[str, Outcome]]:
    """Send each request of a draft once, the next one when the tasks of the last one are done.

    ``directory``: the data folder. ``work``: seconds of the example's slow job. Returns the result, and what was seen
    of each request by its name. Raises `FastbgError`.
    """
    writes: dict[str, Writes] = {}
    with closing(ServerLog(server_log_of(directory))) as log:
        base = ServerSettings("", directory, work)
        run_options = RunOptions(directory, GRACE_S + 5 * work, base, os.environ, server_log=log)
        runner = Runner(source, run_options, None)
        changes: FolderChanges | None = None

        async def pause(at: Pause) -> Action:
            nonlocal changes
            if changes is None:  # the server has started: what it wrote before belongs to no request
                changes = FolderChanges((source.folder / source.script.folder).resolve(), directory)
            elif at.last is not None:
                writes[at.last.templates[0].request.name] = changes.added()
            return Action.CONTINUE

        runner.pause = pause
        result = run_to_end(runner)
    return result, {each.trace.name: _outcome(each, writes.get(each.trace.name, [])) for each in result.requests}


def _outcome(result: RequestResult, writes: Writes) -> Outcome:
    trace = result.trace
    started = sorted(trace.tasks, key=lambda task: (task.started_ns is None, task.started_ns or 0))
    kept = [(file, text) for file, text in writes if trace.request_id not in file]
    verdict = result.judgement.verdict
    return Outcome(
        trace.request_id,
        trace.status,
        verdict,
        last_names([task.name for task in started]),
        tuple(kept),
        None if verdict == "response-first" else _note(result),
    )


def _note(result: RequestResult) -> str:
    """Return what the author of the script should look at."""
    trace, reason = result.trace, result.judgement.reason
    seen = f"seen: {result.judgement.verdict}" + (f", {reason}" if reason else "")
    body = trace.body.text.strip()
    return f"{seen}; the response: {body}" if body and (trace.status or 0) >= 400 else seen
