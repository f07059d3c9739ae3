"""What can go wrong, and when: plain data with bounds.

A fault names its moment by a count, from 1: the third commit, the fortieth change of the disk. One class for each kind
of moment, since a run has many more of some than of others.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from simulation.bounds import Within

__all__ = [
    "ChangeFailure",
    "ChangeFault",
    "CommitFailure",
    "CommitFault",
    "Fault",
    "FaultKind",
    "OpenFailure",
    "OpenFault",
    "PreadFailure",
    "PreadFault",
    "ReadFailure",
    "ReadFault",
    "StepFailure",
    "StepFault",
    "ThreadFailure",
    "ThreadFault",
]


class OpenFailure(StrEnum):
    """When the log is opened."""

    OPEN_REFUSED = "open refused"


class CommitFailure(StrEnum):
    """When a transaction commits."""

    COMMIT_FAILED = "commit failed"
    """It is rolled back, and the writer is told."""
    COMMIT_LOST = "commit lost"
    """The connection breaks before the commit arrives; the writer does not know."""
    COMMIT_UNACKNOWLEDGED = "commit unacknowledged"
    """The connection breaks after the commit; the writer does not know."""
    COMMIT_LATE = "commit late"
    """The connection breaks, and the commit lands `size` seconds later, holding the head until then."""
    COMMIT_CONFLICTED = "commit conflicted"
    """Another writer has the head for longer than this one waits; nothing is written, and the writer is told."""
    COMMIT_STALLED = "commit stalled"
    """It takes `size` seconds, holding the head."""
    COMMIT_CRASHED = "commit crashed"
    """A defect in the writer's process, before anything is written."""
    COMMIT_CRASHED_LATE = "commit crashed late"
    """A defect in the writer's process, once the commit has happened."""
    LOG_FULL = "log full"
    """This commit and the next `size` ones find no room, and are rolled back."""


class ReadFailure(StrEnum):
    """When the views or the log are read."""

    READ_FAILED = "read failed"
    READ_STALLED = "read stalled"
    """It takes `size` seconds."""
    READ_CRASHED = "read crashed"
    """A defect in the reading process."""


class ChangeFailure(StrEnum):
    """When a system call changes the disk."""

    DISK_FAILED = "disk failed"
    DISK_FULL = "disk full"
    """This change and the next `size` ones find no room."""
    WRITE_TORN = "write torn"
    """The next write takes only half of what it is given, and fails."""


class PreadFailure(StrEnum):
    """When bytes of an object are read."""

    BYTES_UNREADABLE = "bytes unreadable"


class ThreadFailure(StrEnum):
    """When a worker thread takes up work."""

    THREAD_STALLED = "thread stalled"
    """It takes `size` seconds."""
    THREAD_CRASHED = "thread crashed"
    """A defect in the code that runs there."""


class StepFailure(StrEnum):
    """At any time; `size` says which of the objects, actors, calls or processes is struck."""

    BIT_ROTTED = "bit rotted"
    OBJECT_VANISHED = "object vanished"
    ACTOR_RESTARTED = "actor restarted"
    CALL_CANCELLED = "call cancelled"
    PROCESS_KILLED = "process killed"
    """What it has written without syncing is there for the others and for its successor."""
    POWER_LOST = "power lost"
    """Every process dies, and what was not synced is gone, whole or in part."""


type Size = Annotated[int, Within(0, 9)]


@dataclass(frozen=True, slots=True)
class OpenFault:
    """Something goes wrong at the `at`-th time, from 1, that a process opens the log; and so on below."""

    WEIGHT: ClassVar[int] = 1
    kind: OpenFailure
    at: Annotated[int, Within(1, 4)]
    size: Size


@dataclass(frozen=True, slots=True)
class CommitFault:
    """At a commit."""

    WEIGHT: ClassVar[int] = 8
    kind: CommitFailure
    at: Annotated[int, Within(1, 12)]
    size: Size


@dataclass(frozen=True, slots=True)
class ReadFault:
    """At a read of the log or the views."""

    WEIGHT: ClassVar[int] = 3
    kind: ReadFailure
    at: Annotated[int, Within(1, 50)]
    size: Size


@dataclass(frozen=True, slots=True)
class ChangeFault:
    """At a change of the disk."""

    WEIGHT: ClassVar[int] = 3
    kind: ChangeFailure
    at: Annotated[int, Within(1, 80)]
    size: Size


@dataclass(frozen=True, slots=True)
class PreadFault:
    """At a read of an object."""

    WEIGHT: ClassVar[int] = 1
    kind: PreadFailure
    at: Annotated[int, Within(1, 12)]
    size: Size


@dataclass(frozen=True, slots=True)
class ThreadFault:
    """At a call in a worker thread."""

    WEIGHT: ClassVar[int] = 2
    kind: ThreadFailure
    at: Annotated[int, Within(1, 30)]
    size: Size


@dataclass(frozen=True, slots=True)
class StepFault:
    """At any step of the world: each of the above, and every other system call."""

    WEIGHT: ClassVar[int] = 6
    kind: StepFailure
    at: Annotated[int, Within(1, 250)]
    size: Size


type Fault = OpenFault | CommitFault | ReadFault | ChangeFault | PreadFault | ThreadFault | StepFault
"""Something that goes wrong once; if its time never comes, it does not."""

type FaultKind = OpenFailure | CommitFailure | ReadFailure | ChangeFailure | PreadFailure | ThreadFailure | StepFailure
