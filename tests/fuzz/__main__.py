"""``python -m tests.fuzz NAME``: random tests that take longer than a normal test may."""

import argparse
import os
import subprocess
import sys

from tests.fuzz.example import fuzz_example


def fuzz_properties(examples: int, which: list[str]) -> int:
    """Run all property tests, or those in the files ``which``, with this number of examples. Return the exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", *which]
    return subprocess.run(command, env=os.environ | {"FASTBG_EXAMPLES": str(examples)}, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    example = names.add_parser("example", help="send requests by schemathesis to the example app")
    example.add_argument("--cases", type=int, default=10_000, help="minimum number of requests")
    example.add_argument("--queued", action="store_true", help="use the queued example with a worker")
    properties = names.add_parser("properties", help="run the property tests with more examples")
    properties.add_argument("--examples", type=int, default=10_000, help="approximate number of examples per test")
    properties.add_argument("files", nargs="*", help="only these test files")
    options = parser.parse_args()
    if options.name == "example":
        return fuzz_example(options.cases, queued=options.queued)
    return fuzz_properties(options.examples, options.files)


if __name__ == "__main__":
    sys.exit(main())
