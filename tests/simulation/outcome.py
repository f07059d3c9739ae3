"""What a simulation came to, and how to see it again."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from simulation.calls import Ending
from simulation.faults import FaultKind
from simulation.grammar import as_json
from simulation.plan import Plan

__all__ = ["Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation came to.

    Attributes:
        plan: what was simulated.
        violations: oracles that were violated, in words; none if all is well.
        trace_digest: of everything that happened; the same for the same plan.
        trace: the last of what happened, a line each.
        struck: faults that struck, by kind.
        lost: names and contents that were not synced and went with the power, by what became of them.
        endings: how many calls were answered, refused, or stayed unknown.
        events: length of the log at the end.
        checks: how many times something was held to an oracle.
        virtual_s: virtual seconds that it took.
    """

    plan: Plan
    violations: tuple[str, ...]
    trace_digest: str
    trace: tuple[str, ...]
    struck: Mapping[FaultKind, int]
    lost: Mapping[str, int]
    endings: Mapping[Ending, int]
    events: int
    checks: int
    virtual_s: float

    @property
    def command(self) -> str:
        """A command line that simulates the same again."""
        plan = json.dumps(as_json(self.plan), separators=(",", ":"))
        return f"PYTHONPATH=tests python -m simulation.simulate --plan {shlex.quote(plan)}"

    def check(self) -> None:
        """Pass if no oracle was violated.

        Raises:
            AssertionError: with what was violated, the command to see it again, and what happened last.
        """
        if self.violations:
            raise AssertionError("\n".join([*self.violations, "", self.command, "", *self.trace]))
