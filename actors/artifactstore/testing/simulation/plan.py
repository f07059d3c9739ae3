"""What a simulation is asked to do: who calls what, and what goes wrong when; plain data with bounds.

Everything here is a frozen dataclass whose fields say what values they may have, so that one description serves to
sample a plan from a seed, to draw and shrink it with Hypothesis, and to write it as JSON.

Numbers stand for things: package 0 is whatever the clients call the first package, content 3 the fourth content of
`contents.py`. A fault names the opportunity at which it strikes by its count: the third commit, the fortieth step.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from artifactstore.testing.simulation.contents import CONTENT_OF, PATH_OF, TREE_OF

__all__ = [
    "OPPORTUNITY_OF",
    "PACKAGES",
    "PROCESSES",
    "Client",
    "CreatePackage",
    "Fault",
    "FaultKind",
    "Finalize",
    "GetFile",
    "IngestDirectory",
    "IngestFile",
    "IngestTree",
    "LookAround",
    "Operation",
    "Opportunity",
    "Plan",
    "RegisterSchema",
    "Replay",
    "Tail",
    "Verify",
    "Within",
    "Workload",
]

PROCESSES: Final = 2
PACKAGES: Final = 3


@dataclass(frozen=True, slots=True)
class Within:
    """The bounds of a whole number, or of how many items a tuple has; both are allowed."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class CreatePackage:
    """Open a package, which its number stands for from then on."""

    WEIGHT: ClassVar[int] = 4
    package: Annotated[int, Within(0, PACKAGES - 1)]
    keyed: bool


@dataclass(frozen=True, slots=True)
class IngestFile:
    """Stream a content to a path, in some chunks."""

    WEIGHT: ClassVar[int] = 12
    package: Annotated[int, Within(0, PACKAGES - 1)]
    path: Annotated[int, Within(0, len(PATH_OF) - 1)]
    content: Annotated[int, Within(0, len(CONTENT_OF) - 1)]
    chunks: Annotated[int, Within(1, 3)]
    replace: bool
    keyed: bool


@dataclass(frozen=True, slots=True)
class IngestDirectory:
    """Put a tree into a package."""

    WEIGHT: ClassVar[int] = 3
    package: Annotated[int, Within(0, PACKAGES - 1)]
    tree: Annotated[int, Within(0, len(TREE_OF) - 1)]
    replace: bool


@dataclass(frozen=True, slots=True)
class IngestTree:
    """Create, fill and seal a package of its own, in one call."""

    WEIGHT: ClassVar[int] = 2
    tree: Annotated[int, Within(0, len(TREE_OF) - 1)]
    keyed: bool


@dataclass(frozen=True, slots=True)
class Finalize:
    """Seal a package."""

    WEIGHT: ClassVar[int] = 3
    package: Annotated[int, Within(0, PACKAGES - 1)]


@dataclass(frozen=True, slots=True)
class GetFile:
    """Read a file, all of it."""

    WEIGHT: ClassVar[int] = 4
    package: Annotated[int, Within(0, PACKAGES - 1)]
    path: Annotated[int, Within(0, len(PATH_OF) - 1)]


@dataclass(frozen=True, slots=True)
class RegisterSchema:
    """Add a version of the one metadata schema."""

    WEIGHT: ClassVar[int] = 1
    keyed: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """Read this many events from the start of the log, or as many as come in a while."""

    WEIGHT: ClassVar[int] = 2
    count: Annotated[int, Within(1, 20)]


@dataclass(frozen=True, slots=True)
class Verify:
    """Read every object again."""

    WEIGHT: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Replay:
    """Compare the views with the log, or mend them."""

    WEIGHT: ClassVar[int] = 1
    check: bool


@dataclass(frozen=True, slots=True)
class LookAround:
    """List packages and files, and ask for health."""

    WEIGHT: ClassVar[int] = 2


type Operation = (
    CreatePackage
    | IngestFile
    | IngestDirectory
    | IngestTree
    | Finalize
    | GetFile
    | RegisterSchema
    | Tail
    | Verify
    | Replay
    | LookAround
)


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who does one thing after the other, through one process, and asks again while the outcome is unknown."""

    process: Annotated[int, Within(0, PROCESSES - 1)]
    operations: Annotated[tuple[Operation, ...], Within(1, 6)]


@dataclass(frozen=True, slots=True)
class Workload:
    """All clients, at once."""

    clients: Annotated[tuple[Client, ...], Within(1, 4)]


class Opportunity(StrEnum):
    """What is counted, so that a fault can say when."""

    STEP = "step"
    """Anything that the simulated world is asked for."""
    OPEN = "open"
    COMMIT = "commit"
    READ = "read"
    CHANGE = "change"
    """A system call that changes the disk."""
    PREAD = "pread"
    THREAD = "thread"


class FaultKind(StrEnum):
    """What can go wrong. `size` is a number of seconds, of repetitions, or of whatever is struck."""

    OPEN_FAILS = "open fails"
    COMMIT_FAILS = "commit fails"
    """The transaction is rolled back, and the writer is told."""
    COMMIT_LOST = "commit lost"
    """The connection breaks before the commit arrives; the writer does not know."""
    COMMIT_UNACKNOWLEDGED = "commit unacknowledged"
    """The connection breaks after the commit; the writer does not know."""
    COMMIT_LATE = "commit late"
    """The connection breaks, and the commit lands seconds later, holding the head until then."""
    COMMIT_STALLS = "commit stalls"
    COMMIT_CRASHES = "commit crashes"
    """A defect in the writer's process, before anything is written."""
    COMMIT_CRASHES_LATE = "commit crashes late"
    """A defect in the writer's process, once the commit has happened."""
    LOG_FULL = "log full"
    """This and the next few commits find no room."""
    READ_FAILS = "read fails"
    READ_STALLS = "read stalls"
    READ_CRASHES = "read crashes"
    DISK_FULL = "disk full"
    """This and the next few changes find no room."""
    DISK_FAILS = "disk fails"
    PREAD_FAILS = "pread fails"
    BIT_ROTS = "bit rots"
    OBJECT_VANISHES = "object vanishes"
    THREAD_STALLS = "thread stalls"
    THREAD_CRASHES = "thread crashes"
    ACTOR_RESTARTS = "actor restarts"
    CALL_CANCELLED = "call cancelled"
    PROCESS_KILLED = "process killed"
    """What it has written without syncing is there for the others and for its successor."""
    POWER_LOST = "power lost"
    """Every process dies, and what was not synced is gone, whole or in part."""


_STEPS: Final = (
    FaultKind.BIT_ROTS,
    FaultKind.OBJECT_VANISHES,
    FaultKind.ACTOR_RESTARTS,
    FaultKind.CALL_CANCELLED,
    FaultKind.PROCESS_KILLED,
    FaultKind.POWER_LOST,
)

OPPORTUNITY_OF: Final[dict[FaultKind, Opportunity]] = {
    FaultKind.OPEN_FAILS: Opportunity.OPEN,
    FaultKind.COMMIT_FAILS: Opportunity.COMMIT,
    FaultKind.COMMIT_LOST: Opportunity.COMMIT,
    FaultKind.COMMIT_UNACKNOWLEDGED: Opportunity.COMMIT,
    FaultKind.COMMIT_LATE: Opportunity.COMMIT,
    FaultKind.COMMIT_STALLS: Opportunity.COMMIT,
    FaultKind.COMMIT_CRASHES: Opportunity.COMMIT,
    FaultKind.COMMIT_CRASHES_LATE: Opportunity.COMMIT,
    FaultKind.LOG_FULL: Opportunity.COMMIT,
    FaultKind.READ_FAILS: Opportunity.READ,
    FaultKind.READ_STALLS: Opportunity.READ,
    FaultKind.READ_CRASHES: Opportunity.READ,
    FaultKind.DISK_FULL: Opportunity.CHANGE,
    FaultKind.DISK_FAILS: Opportunity.CHANGE,
    FaultKind.PREAD_FAILS: Opportunity.PREAD,
    FaultKind.THREAD_STALLS: Opportunity.THREAD,
    FaultKind.THREAD_CRASHES: Opportunity.THREAD,
    **dict.fromkeys(_STEPS, Opportunity.STEP),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong once.

    Attributes:
        kind: what.
        at: at which opportunity, counted from 1 (steps are counted in tens); later than the last one is never.
        size: see `FaultKind`.
    """

    kind: FaultKind
    at: Annotated[int, Within(1, 60)]
    size: Annotated[int, Within(0, 9)]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole simulation: `simulate(plan.seed, plan.workload, plan.faults)`."""

    seed: Annotated[int, Within(0, 2**32 - 1)]
    workload: Workload
    faults: Annotated[tuple[Fault, ...], Within(0, 6)]
