"""What a store holds, and when it was last backed up, collected and verified, as frozen values.

Times are int64 microseconds since 1970 UTC. Sizes are in bytes.
"""

from typing import Literal

from msgspec import Struct

from artifactstore_protocols.verification import VerificationState

__all__ = ["LastRun", "RunKind", "StoreStats"]

type RunKind = Literal["backup", "collection"]


class LastRun(Struct, frozen=True):
    """The last backup or the last garbage collection of a store.

    Attributes:
        ended_at_us: the time when it was complete.
        sequence: the last event of the log that a backup covers, or that there was at the end of a collection.
        objects: the number of objects that the backup has, or that the collection deleted.
        flaws: the number of flaws that a backup found, or of failures that a collection reported.
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
        unreleased: the number of entries that deleted and expired packages hold until the next collection.
        unreleased_bytes: the total size of these files. Those that no other package holds are given back.
        deleted: the number of packages that were deleted so far.
        expired: the number of packages that have expired so far.
        retired: the number of objects that were retired so far, to be deleted at once; orphans do not count.
        retired_bytes: the total size of these objects.
        removed: the number of objects whose bytes were deleted so far, orphans too.
        last_collection: the last garbage collection by this database; None if it has recorded none.
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
    unreleased: int = 0
    unreleased_bytes: int = 0
    deleted: int = 0
    expired: int = 0
    retired: int = 0
    retired_bytes: int = 0
    removed: int = 0
    last_collection: LastRun | None = None
    last_backup: LastRun | None = None
    verification: VerificationState = VerificationState()
