"""What users of artifactstore test with: a harness for single actors, and a deterministic simulation of the whole.

The harness is here. `artifactstore.testing.simulate` has `simulate`, and `artifactstore.testing.strategies` draws what
it is given; they are not imported here, since the first is a program as well and the second needs hypothesis.
`docs/TESTING.md` shows all of it.
"""

from artifactstore.testing.harness import Harness, open_actor
from artifactstore.testing.parts import Parts, simulated_parts
from artifactstore.testing.probe import InjectedCrash, Probe, Received
from artifactstore.testing.scheduling import run_seeded, seeded_scheduling

__all__ = [
    "Harness",
    "InjectedCrash",
    "Parts",
    "Probe",
    "Received",
    "open_actor",
    "run_seeded",
    "seeded_scheduling",
    "simulated_parts",
]
