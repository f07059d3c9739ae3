"""A whole simulation as data: one description serves to sample it, to draw and shrink it, and to write it down."""

from dataclasses import dataclass
from typing import Annotated

from simulation.bounds import Within
from simulation.faults import Fault
from simulation.workload import Workload

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole simulation: `simulate(plan.seed, plan.workload, plan.faults)`."""

    seed: Annotated[int, Within(0, 2**32 - 1)]
    workload: Workload
    faults: Annotated[tuple[Fault, ...], Within(0, 8)]
