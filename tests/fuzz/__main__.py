"""``python -m tests.fuzz NAME``: what is named in `main`."""

import argparse
import sys


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=sys.modules[__package__ or ""].__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    example = names.add_parser("example", help="requests to the example app, by schemathesis")
    example.add_argument("--cases", type=int, default=10_000, help="requests, at least")
    example.add_argument("--queued", action="store_true", help="to the example with a queue, workers included")
    wish = parser.parse_args()
    from tests.fuzz.example import fuzz_example

    return fuzz_example(wish.cases, queued=wish.queued)


if __name__ == "__main__":
    sys.exit(main())
