"""What a store holds, and when it was last backed up and verified, as frozen values.

Times are int64 microseconds since 1970 UTC. Sizes are in bytes.
"""

from typing import Literal

from msgspec import Struct

from artifactstore_protocols.verification import VerificationState

__all__ = ["LastRun", "RunKind", "StoreStats"]

type RunKind = Literal["backup"]


class LastRun(Struct, frozen=True):
    """The last backup of a store.

    Attributes:
        ended_at_us: the time when it was complete.
        sequence: the last event of the log that it covers.
        objects: the number of objects that it knew to be in the backup.
        flaws: the number of flaws that it found.
    """

    ended_at_us: int
    sequence: int
    objects: int
    flaws: int


class StoreStats(Struct, frozen=True):
    """The totals of a store.

    Attributes:
        packages: the number of packages.
        finalized: the number of packages that are finalized.
        files: the number of files in all packages.
        links: the number of symbolic links in all packages.
        directories: the number of empty directories in all packages.
        bytes: the total size of the files in all packages.
        objects: the number of objects that hold the contents of files, each content once for each backend.
        object_bytes: the total size of these objects.
        condemned: the number of those objects that no package needs, and that a collection deletes after its grace.
        condemned_bytes: the total size of these objects.
        last_backup: the last complete backup by this database; None if it has recorded none.
        verification: when its objects were last verified.
    """

    packages: int = 0
    finalized: int = 0
    files: int = 0
    links: int = 0
    directories: int = 0
    bytes: int = 0
    objects: int = 0
    object_bytes: int = 0
    condemned: int = 0
    condemned_bytes: int = 0
    last_backup: LastRun | None = None
    verification: VerificationState = VerificationState()
