"""``python -m tests.mutants [MODULE ...]``: which faults in the modules that carry the claims do the tests notice?"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table

from tests.mutants.modules import TESTS, known_equivalents
from tests.mutants.mutations import Mutant, choose, mutants_of
from tests.mutants.running import Copies, FailingTestsError, Groups, Outcome
from tests.support.servers import ROOT

REQUIRED = 0.95  # share of the mutants that are not equivalent

Key = tuple[str, str, str, str]


@dataclass(slots=True)
class ModuleReport:
    """``equivalent``: the tested mutants that change no behaviour. ``wrong``: those of them that a test noticed."""

    module: str
    mutants: int = 0
    killed: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    equivalent: list[Mutant] = field(default_factory=list)
    wrong: list[Mutant] = field(default_factory=list)

    @property
    def share(self) -> float:
        counted = self.killed + len(self.survivors)
        return self.killed / counted if counted else 1.0

    def add(self, outcome: Outcome, known: Mapping[Key, str]) -> None:
        self.mutants += 1
        if outcome.mutant.key in known:
            self.equivalent.append(outcome.mutant)
            self.wrong += [outcome.mutant] if outcome.noticed else []
        elif outcome.noticed:
            self.killed += 1
        else:
            self.survivors.append(outcome.mutant)


def describe(report: ModuleReport, known: Mapping[Key, str]) -> Iterator[str]:
    """Yield the lines about the mutants of a module that no test noticed."""
    for mutant in report.survivors:
        yield f"{place(mutant)}: no test notices\n  - {mutant.before}\n  + {mutant.after}"
    for mutant in report.equivalent:
        yield f"{place(mutant)}: equivalent, {known[mutant.key]}\n  - {mutant.before}\n  + {mutant.after}"
    for mutant in report.wrong:
        yield f"{place(mutant)}: a test notices this mutant, so it is not equivalent"


def place(mutant: Mutant) -> str:
    return f"fastbg/{mutant.module}.py:{mutant.line} {mutant.function}".rstrip()


def unmatched(known: Mapping[Key, str], module: str, mutants: Sequence[Mutant]) -> list[Key]:
    """Return the known equivalent mutants of ``module`` that no longer exist."""
    return sorted(key for key in known.keys() - {mutant.key for mutant in mutants} if key[0] == module)


def check(copies: Copies, module: str, groups: Groups, count: int, seed: int) -> ModuleReport:
    """Test the mutants of a module, and print those that no test noticed."""
    known = known_equivalents()
    mutants = mutants_of(module, (ROOT / "fastbg" / f"{module}.py").read_text("utf-8"))
    report = ModuleReport(module)
    for outcome in copies.test(module, groups, choose(mutants, count, seed)):
        report.add(outcome, known)
    for line in describe(report, known):
        print(line)
    for _, function, before, after in unmatched(known, module, mutants):
        print(f"equivalent.toml: {module} {function} has no such mutant any more\n  - {before}\n  + {after}")
    return report


def table(reports: Sequence[ModuleReport]) -> Table:
    shown = Table("module", "mutants", "killed", "equivalent", "survivors", "share", "", box=box.SIMPLE)
    for report in reports:
        numbers = (report.mutants, report.killed, len(report.equivalent), len(report.survivors))
        ok = "ok" if report.share >= REQUIRED else "NO"
        shown.add_row(report.module, *map(str, numbers), f"{report.share:.1%}", ok)
    return shown


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as evidence/trace; default: all of them")
    parser.add_argument("--count", type=int, default=60, help="mutants per module")
    parser.add_argument("--seed", type=int, default=0, help="chooses other mutants")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="mutants that are tested at the same time"
    )
    options = parser.parse_args()
    if unknown := set(options.modules) - TESTS.keys():
        parser.error(f"unknown module: {', '.join(sorted(unknown))}; known are {', '.join(TESTS)}")
    try:
        with Copies(ROOT, options.jobs) as copies:
            reports = [
                check(copies, module, TESTS[module], options.count, options.seed) for module in options.modules or TESTS
            ]
    except FailingTestsError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    Console().print(table(reports))
    return int(any(report.share < REQUIRED for report in reports))


if __name__ == "__main__":
    sys.exit(main())
