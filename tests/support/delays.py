"""Separates time limits, which a busy machine can miss, from real faults of a run."""

from typing import Any

# Expectations of a script that depend on the speed of the machine. `tests.benchmarks` checks them.
TIME_LIMITS = ("response_within", "response_at_least", "lead_at_least")


def is_time_limit(unmet: str) -> bool:
    """Whether a line of `fastbg demo --json` is about a time limit, such as ``tasks[1].within: expected …``."""
    key = unmet.partition(":")[0]
    return key in TIME_LIMITS or key.endswith(".within")


def unmet_except_time_limits(run: dict[str, Any]) -> list[str]:
    """Return the unmet expectations of ``run``, a document of `fastbg demo --json`, except for time limits."""
    return [
        f"{found['name']}: {unmet}" for found in run["requests"] for unmet in found["unmet"] if not is_time_limit(unmet)
    ] + [run["stopped"]] * bool(run["stopped"])
