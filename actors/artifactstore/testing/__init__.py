"""Tools to test your own actors: a harness for one actor, probes for its collaborators, and seeded scheduling.

`artifactstore.testing.backend_conformance` has the tests that every storage backend must pass, and
`artifactstore.testing.fixtures` a store for each test of your own. This package does not import these modules, because
they need pytest. `docs/how-to/testing-actors.md` describes the tools for actors.
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
