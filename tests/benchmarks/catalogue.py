"""Checks that the built-in scripts meet their time limits on an idle machine."""

import json
import os
import subprocess
import tempfile

from fastbg.scripting.builtin import built_in, script
from tests.benchmarks.rows import Row
from tests.benchmarks.runs import environment
from tests.benchmarks.start import BIN
from tests.support.delays import TIME_LIMITS, is_time_limit


def limits() -> list[Row]:
    """Compare the number of met time limits (such as ``response_within``) with the number of all time limits."""
    with tempfile.TemporaryDirectory() as folder:
        command = [f"{BIN}/fastbg", "demo", "all", "--json", "--dir", folder]
        result = subprocess.run(command, stdout=subprocess.PIPE, env=environment(), check=False)
    missed = [
        f"{run['script']}, {found['name']}: {unmet}"
        for run in json.loads(result.stdout)["runs"]
        for found in run["requests"]
        for unmet in found["unmet"]
        if is_time_limit(unmet)
    ]
    stated = sum(
        getattr(request.expect, name) is not None
        for source in (script(name, os.environ) for name in built_in())
        for part in source.script.all_parts
        for request in part.requests
        for name in TIME_LIMITS
    )
    ratio = (stated - len(missed)) / stated
    detail = "; ".join(missed) or f"{stated} limits"
    return [Row("time limits that the catalogue meets", "all time limits", ratio, "1", not missed, detail)]
