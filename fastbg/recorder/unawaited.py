"""Detects work that a task made and that nobody ran: coroutines, generators and async generators."""

import opcode
import sys
import warnings
import weakref
from collections.abc import Callable
from functools import wraps
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from fastbg.recorder.task_record import TaskRecord, current_task

_WARN = "_warn_unawaited_coroutine"  # Python calls it for each coroutine that is deleted and was never awaited


def discard_result(task: TaskRecord, results: list[Any]) -> None:
    """Delete the only value in ``results``, which the task has returned, and record if nobody can run it any more.

    Starlette ignores the value. If anything else holds it, it may still be run, and nothing is recorded.
    """
    sentence = None if results[0] is None else _not_run(results[0])
    if sentence is None:
        return
    reference = weakref.ref(results[0])
    results.clear()
    if reference() is None:
        task.not_run = sentence


def _not_run(result: Any) -> str | None:
    """Return what is wrong if nobody runs ``result``; None if it has started, or is nothing to run."""
    if isinstance(result, CoroutineType):
        has_started = result.cr_frame is None or result.cr_running or result.cr_suspended
        return None if has_started else "returned a coroutine that nobody awaited"
    if isinstance(result, GeneratorType):
        has_started = result.gi_frame is None or result.gi_running or result.gi_suspended
        return None if has_started else "returned a generator that nobody ran"
    if isinstance(result, AsyncGeneratorType):
        has_started = result.ag_frame is None or result.ag_running or _is_suspended(result)
        return None if has_started else "returned an async generator that nobody ran"
    return None


def _is_suspended(generator: AsyncGeneratorType[Any, Any]) -> bool:
    if sys.version_info >= (3, 12):
        return generator.ag_suspended
    frame = generator.ag_frame  # Python 3.11 shows it only by the last instruction: the one that made the generator
    return frame is not None and generator.ag_code.co_code[frame.f_lasti] != opcode.opmap["RETURN_GENERATOR"]


def wrap_warning(original: Callable[[Any], None]) -> Callable[[Any], None]:
    pythons_own = original
    if isinstance(original, FunctionType) and original.__closure__ is None:
        # It warns about its caller, which is now the wrapper, and must warn about the caller of that.
        pythons_own = FunctionType(original.__code__, original.__globals__ | {"warn": _warn_further_out})

    @wraps(original)
    def warn(coroutine: Any) -> None:
        task = current_task.get()
        if task is not None and task.not_run is None:
            task.not_run = f"made a coroutine that nobody awaited: {coroutine.__qualname__}"
        pythons_own(coroutine)

    return warn


def _warn_further_out(message: str, category: type[Warning], stacklevel: int, source: object) -> None:
    warnings.warn(message, category, stacklevel + 2, source)


WARNING_HOOKS = ((warnings, _WARN, wrap_warning),) if hasattr(warnings, _WARN) else ()
