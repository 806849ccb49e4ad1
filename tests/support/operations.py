"""Counts what Python does, in bytecode instructions. Unlike a time, the number is the same on a busy machine."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def instructions_of(function: Callable[[], object]) -> int:
    """Return the number of instructions while ``function`` runs."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def is_linear(work: Callable[[int], object], size: int) -> bool:
    """Return whether ``work`` takes about four times the instructions for four times the ``size``, not sixteen."""
    return instructions_of(lambda: work(4 * size)) < 7 * instructions_of(lambda: work(size))
