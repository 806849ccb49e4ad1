"""``python -m tests.fuzz NAME``: what takes longer than a test may."""

import argparse
import os
import subprocess
import sys

from tests.fuzz.example import fuzz_example


def fuzz_properties(examples: int, which: list[str]) -> int:
    """Every property test of the suite, or of the files ``which``, on so many ``examples``; pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", *which]
    return subprocess.run(command, env=os.environ | {"FASTBG_EXAMPLES": str(examples)}, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    example = names.add_parser("example", help="requests to the example app, made by schemathesis")
    example.add_argument("--cases", type=int, default=10_000, help="requests, at least")
    example.add_argument("--queued", action="store_true", help="to the example with a queue, its worker included")
    properties = names.add_parser("properties", help="the property tests of the suite, on many more examples")
    properties.add_argument("--examples", type=int, default=10_000, help="for each of them, about")
    properties.add_argument("files", nargs="*", help="of these files alone")
    wish = parser.parse_args()
    if wish.name == "example":
        return fuzz_example(wish.cases, queued=wish.queued)
    return fuzz_properties(wish.examples, wish.files)


if __name__ == "__main__":
    sys.exit(main())
