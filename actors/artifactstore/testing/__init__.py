"""Test actors of your own: a harness for one actor, probes in place of its collaborators, runs that a seed decides.

`artifactstore.testing.backend_conformance` has the tests that every storage backend must pass. It is not imported here,
because it needs pytest. `docs/how-to/testing-actors.md` shows all of it.
"""

from artifactstore.testing.harness import Harness, open_actor
from artifactstore.testing.probe import InjectedCrash, Probe, Received
from artifactstore.testing.scheduling import run_seeded, seeded_scheduling

__all__ = [
    "Harness",
    "InjectedCrash",
    "Probe",
    "Received",
    "open_actor",
    "run_seeded",
    "seeded_scheduling",
]
