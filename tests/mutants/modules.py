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
# Tests of the command `fastbg report` take some hundred times as long as those of a summary.
_NO_COMMAND = (
    "not (report_shows or json_report or bars or limits or pipe or killed or unreadable or control or terminal "
    "or empty or refused or parts or rotation or later or long or progress or ctrl_c or start_have or deleted_end)"
)
# Without those of a real server in test_middleware.py: a mutant that makes a server wait takes a minute.
_RECORDER = (
    (
        "tests/recorder/test_request_record.py",
        "tests/recorder/test_response_record.py",
        "tests/recorder/test_task_record.py",
    ),
    (
        "tests/recorder/test_task_calls.py",
        "tests/recorder/test_changes_nothing.py",
        "tests/recorder/test_write_later.py",
    ),
    ("tests/recorder/test_steps.py", "tests/recorder/test_unfinished.py", "tests/recorder/test_loop_watch.py"),
    ("tests/recorder/test_held_response.py", "tests/recorder/test_instrument.py", "tests/attach/test_record.py"),
)
_TASK_CALLS = (_RECORDER[1], _RECORDER[0], *_RECORDER[2:])
_LOOKS = ("tests/evidence/test_history.py", "-k", "looks")  # at a response that the server still held
_FILES = ("tests/evidence/test_existence.py", "tests/evidence/test_second_look.py")

# Each group is one run of pytest. The tests that are quick and notice most are in the first group.
TESTS: Mapping[str, Sequence[Sequence[str]]] = {
    "evidence/verdict": (
        _EVIDENCE,
        ("tests/evidence/test_existence.py",),
        ("tests/evidence/test_history.py", "-k", _NO_COMMAND),
        _LOOKS,
    ),
    "evidence/trace": (
        _EVIDENCE,
        ("tests/evidence/test_trace.py", "tests/evidence/test_attribution.py", "tests/evidence/test_observer.py"),
        ("tests/report/test_reasons.py", "tests/report/test_timelines.py", "tests/report/test_request_lines.py"),
    ),
    "evidence/tasks": (_EVIDENCE, ("tests/report/test_timelines.py", "tests/report/test_request_lines.py")),
    "evidence/attribution": (
        ("tests/evidence/test_attribution.py",),
        ("tests/evidence/test_second_look.py",),
        ("tests/evidence/test_observer.py",),
    ),
    "evidence/history": (
        ("tests/evidence/test_history.py", "-k", _NO_COMMAND),
        ("tests/evidence/test_journals.py", "tests/evidence/test_live_requests.py", "tests/evidence/test_processes.py"),
        ("tests/report/test_trace_events.py",),
        _LOOKS,
    ),
    "evidence/expectations": (_EVIDENCE,),
    "evidence/existence": (_FILES,),
    "evidence/second_look": (_FILES,),
    "recorder/middleware": _RECORDER,
    "recorder/request_record": _RECORDER,
    "recorder/response_record": _RECORDER,
    "recorder/task_record": _RECORDER,
    "recorder/instrument": _TASK_CALLS,
    "recorder/task_calls": _TASK_CALLS,
    "recorder/made_tasks": _TASK_CALLS,
    "recorder/unawaited": _TASK_CALLS,
    "follow/lines": (("tests/follow/test_lines.py", "-k", "not megabytes"), ("tests/evidence/test_seen_lines.py",)),
    "follow/files": (("tests/follow/test_files.py",), ("tests/follow/test_follower.py", "-k", "kernel or not poll")),
}


def known_equivalents(path: Path = EQUIVALENT) -> dict[tuple[str, str, str, str], str]:
    """Return why each known mutant changes no behaviour, by its `Mutant.key`."""
    entries = tomllib.loads(path.read_text("utf-8")).get("mutant", [])
    return {(entry["module"], entry["function"], entry["line"], entry["mutated"]): entry["reason"] for entry in entries}
