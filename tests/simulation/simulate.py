"""See a simulation again, from a seed or from the plan that a failure printed.

`PYTHONPATH=tests python -m simulation.simulate --seed N` or `--plan JSON`.

Exit status: 0 when no oracle was violated, 1 when one was, 2 for a command line that says nothing useful.
"""

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Sequence

from simulation.grammar import from_json, sample
from simulation.outcome import Outcome
from simulation.plan import Plan
from simulation.run import simulate

__all__ = ["Outcome", "Plan", "main", "plan_of", "simulate"]


def plan_of(seed: int) -> Plan:
    """The plan that a seed stands for: workload and faults are sampled from it."""
    return dataclasses.replace(sample(Plan, random.Random(seed)), seed=seed)  # noqa: S311 - simulated chance


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; `sys.argv` unless given."""
    parser = argparse.ArgumentParser(prog="python -m simulation.simulate", description="Run one simulation.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, help="workload and faults are sampled from this number")
    what.add_argument("--plan", help="the plan as JSON, as a failure printed it")
    given = parser.parse_args(arguments)
    try:
        plan = plan_of(given.seed) if given.plan is None else from_json(json.loads(given.plan))
    except (KeyError, TypeError, ValueError) as error:
        parser.error(f"this is no plan: {error!r}")
    outcome = simulate(plan.seed, plan.workload, plan.faults)
    _report(outcome)
    return 1 if outcome.violations else 0


def _report(outcome: Outcome) -> None:
    lines = [
        *outcome.trace,
        "",
        f"faults that struck: {', '.join(f'{kind} {count}' for kind, count in outcome.struck.items()) or 'none'}",
        f"calls: {', '.join(f'{count} {ending}' for ending, count in outcome.endings.items())}",
        f"events: {outcome.events}, oracle checks: {outcome.checks}, virtual seconds: {outcome.virtual_s:.1f}",
        f"trace: {outcome.trace_digest}",
        *(f"VIOLATED: {violation}" for violation in outcome.violations),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
