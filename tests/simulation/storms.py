"""Plans in which packages come and go: ingests of the same few contents, deletions, holds, expiry and collections.

`plan_of` draws every operation at any time, and so rarely meets a collection that has something to delete. Here each
client has a part to play, and what it does is drawn within that.
"""

import random
from typing import Final

from simulation.endings import Collect, DeletePackage, Expire, Extend, Jump, MoveClock, PlaceHold, ReleaseHold, Retain
from simulation.grammar import sample
from simulation.plan import Plan
from simulation.workload import (
    PROCESSES,
    Client,
    CreatePackage,
    Finalize,
    GetFile,
    IngestDirectory,
    IngestFile,
    Operation,
    Workload,
)

__all__ = ["storm_of"]

_ROUNDS_MAX: Final = 3
_CONTENTS: Final = (1, 2, 5)
_PATHS: Final = (0, 1)


def storm_of(seed: int) -> Plan:
    """The storm that a seed stands for: its clients, and faults as in any plan."""
    source = random.Random(f"storm {seed}")  # noqa: S311 - simulated chance
    clients = [_client(source, _working(source, package)) for package in (0, 1)]
    clients += [_client(source, _collecting(source)) for _ in range(2)]
    clients.append(_client(source, _keeping(source)))
    return Plan(seed, Workload(tuple(clients)), sample(Plan, source).faults if source.random() < _FAULTY else ())


_FAULTY: Final = 0.7


def _client(source: random.Random, operations: list[Operation]) -> Client:
    return Client(source.randrange(PROCESSES), together=False, operations=tuple(operations))


def _working(source: random.Random, package: int) -> list[Operation]:
    """Packages that are made, filled, perhaps finalized, and mostly deleted; the number stands for each in turn."""
    operations: list[Operation] = []
    for _ in range(source.randint(1, _ROUNDS_MAX)):
        operations.append(CreatePackage(package, keyed=source.random() < 0.5))
        operations += (_put(source, package) for _ in range(source.randint(1, 3)))
        if source.random() < 0.5:
            operations.append(Finalize(package))
        operations.append(GetFile(package, source.choice(_PATHS)))
        if source.random() < 0.8:
            operations.append(DeletePackage(package, before_expiry=source.random() < 0.9))
        if source.random() < 0.4:
            operations.append(Collect(grace=source.random() < 0.8, orphan_age=True))
    return operations


def _put(source: random.Random, package: int) -> Operation:
    if source.random() < 0.2:
        return IngestDirectory(package, source.randrange(2), replace=True)
    chunks, keyed = source.randint(0, 2), source.random() < 0.3
    path, content = source.choice(_PATHS), source.choice(_CONTENTS)
    return IngestFile(package, path, content, chunks, breaks_after=9, replace=True, keyed=keyed)


def _collecting(source: random.Random) -> list[Operation]:
    return [Collect(source.random() < 0.4, source.random() < 0.3) for _ in range(source.randint(2, 6))]


def _keeping(source: random.Random) -> list[Operation]:
    """What keeps packages and lets them go, on the packages that others fill."""
    operations: list[Operation] = []
    for _ in range(source.randint(2, 6)):
        package = source.randrange(2)
        choices: tuple[Operation, ...] = (
            PlaceHold(package, keyed=source.random() < 0.5),
            PlaceHold(package, keyed=False),
            ReleaseHold(package),
            Retain(package, source.randint(0, 3)),
            Extend(package, keyed=True),
            MoveClock(source.choice(list(Jump)), confirmed=source.random() < 0.6),
            Expire(soon=source.random() < 0.5),
        )
        operations.append(source.choice(choices))
    return operations
