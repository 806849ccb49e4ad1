"""Tells what a busy machine alone can do to a run from what is wrong with it."""

from typing import Any

# Limits of a script that hold or not by the time that client and server are given. `tests.benchmarks` holds them.
LIMITS = ("response_within", "response_at_least", "lead_at_least")


def is_delay(unmet: str) -> bool:
    """Whether that is a limit of time, in the words of `fastbg demo --json`: ``tasks[1].within: expected …``."""
    key = unmet.partition(":")[0]
    return key in LIMITS or key.endswith(".within")


def unmet_by_no_delay(run: dict[str, Any]) -> list[str]:
    """What ``run``, a document of `fastbg demo --json`, does not meet, limits of time apart."""
    return [
        f"{found['name']}: {unmet}" for found in run["requests"] for unmet in found["unmet"] if not is_delay(unmet)
    ] + [run["stopped"]] * bool(run["stopped"])
