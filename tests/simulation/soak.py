"""Simulate one seed after the other for as long as told: `PYTHONPATH=tests python -m simulation.soak --minutes 10`.

Each seed stands for a plan, and for a storm, in which packages come and go. It says what it has done at the end, and
stops at the first seed that violates an oracle, with the command to see it again. Exit status: 0 when none did, 1 when
one did.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from simulation.calls import Ending
from simulation.faults import FaultKind
from simulation.outcome import Outcome
from simulation.run import simulate
from simulation.simulate import plan_of
from simulation.storms import storm_of

__all__ = ["main"]


class _Totals:
    def __init__(self) -> None:
        self.simulations = 0
        self.events = 0
        self.checks = 0
        self.virtual_s = 0.0
        self.struck: Counter[FaultKind] = Counter()
        self.lost: Counter[str] = Counter()
        self.endings: Counter[Ending] = Counter()

    def add(self, outcome: Outcome) -> None:
        self.simulations += 1
        self.events += outcome.events
        self.checks += outcome.checks
        self.virtual_s += outcome.virtual_s
        self.struck.update(outcome.struck)
        self.lost.update(outcome.lost)
        self.endings.update(outcome.endings)

    def lines(self) -> list[str]:
        calls = ", ".join(f"{count} {ending}" for ending, count in sorted(self.endings.items()))
        return [
            f"{self.simulations} simulations, {self.virtual_s / 3600:.1f} virtual hours, {self.events} events",
            f"operations: {self.endings.total()} ({calls})",
            f"oracle checks: {self.checks}",
            f"faults injected: {self.struck.total()}",
            *(f"  {kind:22} {count}" for kind, count in sorted(self.struck.items())),
            f"lost with the power, since they were not synced: {self.lost.total()}",
            *(f"  {what:22} {count}" for what, count in sorted(self.lost.items())),
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `sys.argv` unless given."""
    parser = argparse.ArgumentParser(prog="python -m simulation.soak", description="Simulate many seeds.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to continue (10)")
    parser.add_argument("--first", type=int, default=1000, help="the first seed (1000: the suite has those before)")
    given = parser.parse_args(arguments)
    totals = _Totals()
    seed = given.first
    end = time.monotonic() + 60 * given.minutes
    violated: Outcome | None = None
    while violated is None and (seed == given.first or time.monotonic() < end):
        for plan in (plan_of(seed), storm_of(seed)):
            outcome = simulate(plan.seed, plan.workload, plan.faults)
            totals.add(outcome)
            violated = violated or (outcome if outcome.violations else None)
        seed += 1
    found = [] if violated is None else [f"seed {seed - 1} violates:", *violated.violations, violated.command]
    sys.stdout.write("\n".join([*totals.lines(), *found]) + "\n")
    return 0 if violated is None else 1


if __name__ == "__main__":
    sys.exit(main())
