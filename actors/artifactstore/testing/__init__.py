"""What users of artifactstore test with: a harness for single actors, and a deterministic simulation of the whole.

`docs/TESTING.md` shows both. `artifactstore.testing.strategies` needs hypothesis, and so is not imported here.
"""

from artifactstore.testing.harness import Harness, open_actor
from artifactstore.testing.parts import Parts, simulated_parts
from artifactstore.testing.probe import InjectedCrash, Probe, Received
from artifactstore.testing.scheduling import run_seeded, seeded_scheduling
from artifactstore.testing.simulation.outcome import Outcome
from artifactstore.testing.simulation.plan import Plan
from artifactstore.testing.simulation.run import simulate

__all__ = [
    "Harness",
    "InjectedCrash",
    "Outcome",
    "Parts",
    "Plan",
    "Probe",
    "Received",
    "open_actor",
    "run_seeded",
    "seeded_scheduling",
    "simulate",
    "simulated_parts",
]
