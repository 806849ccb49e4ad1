"""The modules that carry the claims, the tests that must notice a fault in each, and the known equivalent mutants."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

EQUIVALENT = Path(__file__).parent / "equivalent.toml"

_EVIDENCE = (
    "tests/evidence/test_verdict.py",
    "tests/evidence/test_expectations.py",
    "tests/evidence/test_tasks.py",
)
_RECORDER = (
    ("tests/recorder/test_changes_nothing.py", "tests/recorder/test_steps.py"),
    ("tests/recorder/test_middleware.py",),
)

# Each group is one run of pytest. The tests that are quick and notice most are in the first group.
TESTS: Mapping[str, Sequence[Sequence[str]]] = {
    "evidence/verdict": (_EVIDENCE, ("tests/evidence/test_history.py", "-k", "not recorded and not tmp_path")),
    "evidence/trace": (
        _EVIDENCE,
        ("tests/evidence/test_trace.py", "tests/evidence/test_attribution.py", "tests/evidence/test_observer.py"),
        ("tests/report/test_reasons.py", "tests/report/test_timelines.py", "tests/report/test_request_lines.py"),
    ),
    "evidence/tasks": (_EVIDENCE, ("tests/report/test_timelines.py", "tests/report/test_request_lines.py")),
    "evidence/attribution": (("tests/evidence/test_attribution.py",), ("tests/evidence/test_observer.py",)),
    "evidence/history": (
        ("tests/evidence/test_history.py", "-k", "not demo and not long and not killed and not terminal"),
        ("tests/evidence/test_journals.py",),
    ),
    "evidence/expectations": (_EVIDENCE,),
    "recorder/middleware": _RECORDER,
    "recorder/request_record": _RECORDER,
    "recorder/response_record": _RECORDER,
    "recorder/task_record": _RECORDER,
    "recorder/instrument": _RECORDER,
    "follow/lines": (("tests/follow/test_lines.py", "-k", "not megabytes"), ("tests/evidence/test_seen_lines.py",)),
    "follow/files": (("tests/follow/test_files.py",), ("tests/follow/test_follower.py", "-k", "kernel or not poll")),
}


def known_equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, str, str, str], str]:
    """Return why each known mutant changes no behaviour, by its `Mutant.key`."""
    entries = tomllib.loads(path.read_text("utf-8")).get("mutant", [])
    return {(entry["module"], entry["function"], entry["line"], entry["mutated"]): entry["reason"] for entry in entries}
