"""Who calls what: plain data with bounds.

Numbers stand for things: package 0 is whatever the clients call the first package, content 3 the fourth content of
`contents.py`. `WEIGHT` is how often an operation is drawn, beside the others.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from simulation.bounds import Within
from simulation.contents import CONTENT_OF, PACKAGES, PATH_OF, TREE_OF
from simulation.endings import Collect, DeletePackage, Expire, Extend, MoveClock, PlaceHold, ReleaseHold, Retain

__all__ = [
    "PROCESSES",
    "Client",
    "Collect",
    "CreatePackage",
    "DeletePackage",
    "Expire",
    "Extend",
    "Finalize",
    "GetFile",
    "IngestDirectory",
    "IngestFile",
    "IngestTree",
    "LookAround",
    "MoveClock",
    "Operation",
    "PlaceHold",
    "RegisterSchema",
    "ReleaseHold",
    "Replay",
    "Retain",
    "Tail",
    "Verify",
    "Workload",
]

PROCESSES: Final = 2
"""How many processes share the store."""


@dataclass(frozen=True, slots=True)
class CreatePackage:
    """Open a package, which its number stands for from then on."""

    WEIGHT: ClassVar[int] = 4
    package: Annotated[int, Within(0, PACKAGES - 1)]
    keyed: bool


@dataclass(frozen=True, slots=True)
class IngestFile:
    """Put a content at a path: as a stream of some chunks, or with 0 chunks from a local file.

    The stream itself fails after `breaks_after` chunks, if it has more.
    """

    WEIGHT: ClassVar[int] = 12
    package: Annotated[int, Within(0, PACKAGES - 1)]
    path: Annotated[int, Within(0, len(PATH_OF) - 1)]
    content: Annotated[int, Within(0, len(CONTENT_OF) - 1)]
    chunks: Annotated[int, Within(0, 3)]
    breaks_after: Annotated[int, Within(0, 9)]
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
    """Create, fill and finalize a package of its own, in one call."""

    WEIGHT: ClassVar[int] = 2
    tree: Annotated[int, Within(0, len(TREE_OF) - 1)]
    keyed: bool


@dataclass(frozen=True, slots=True)
class Finalize:
    """Finalize a package."""

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
    """Compare the views with the log, or repair them."""

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
    | DeletePackage
    | PlaceHold
    | ReleaseHold
    | Retain
    | Extend
    | Expire
    | Collect
    | MoveClock
)


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who asks one process for things, and asks again while the outcome is unknown.

    Attributes:
        process: which process.
        together: whether everything is asked for at once, or one thing after the other.
        operations: what is asked for.
    """

    process: Annotated[int, Within(0, PROCESSES - 1)]
    together: bool
    operations: Annotated[tuple[Operation, ...], Within(1, 6)]


@dataclass(frozen=True, slots=True)
class Workload:
    """All clients, at once."""

    clients: Annotated[tuple[Client, ...], Within(1, 4)]
