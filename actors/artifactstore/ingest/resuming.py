"""What an ingest may leave out because an interrupted one has done it: pure decisions over stamps, notes and records.

A file is passed over only if all of this holds: its inode is as it was when the file was last looked at and read, that
look was not in the same moment as the file's last change, and the package's own record at its path names exactly the
content that was read then. A note alone is never believed, so a wrong one costs a read and nothing else.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from artifactstore.ingest.scan import FileStamp, ScannedFile
from artifactstore_protocols.media_types import media_type_of
from artifactstore_protocols.records import FileRecord

__all__ = ["Note", "may_go_on", "untouched", "worth_noting"]

_RACY_NS = 2_000_000_000
"""The coarsest clock that a file system stamps with (FAT's): a second change within its tick leaves no mark."""


@dataclass(frozen=True, slots=True)
class Note:
    """A file that was read: what its inode said before, and what the bytes were."""

    stamp: FileStamp
    content_address: str


def worth_noting(stamp: FileStamp, looked_at_us: int) -> bool:
    """Whether a later change of the file would show in its stamp.

    Not if it was changed about when it was looked at, or after, by the clock of the machine or by a wrong one: it may
    change once more within the same tick (git calls such an entry racy).

    Args:
        stamp: of the file.
        looked_at_us: no later than when the stamp was taken.
    """
    return stamp.mtime_ns < looked_at_us * 1000 - _RACY_NS


def untouched(
    scanned: Sequence[ScannedFile], notes: Mapping[str, Note], records: Mapping[str, FileRecord]
) -> dict[str, FileRecord]:
    """The files that need not be read again, with their records in the package, by path."""
    found: dict[str, FileRecord] = {}
    for file in scanned:
        note, record = notes.get(file.path), records.get(file.path)
        if note is None or record is None or note.stamp != file.stamp:
            continue
        attributes = (file.size_bytes, file.executable, media_type_of(file.path), note.content_address)
        if attributes == (record.size_bytes, record.executable, record.media_type, record.content_address):
            found[file.path] = record
    return found


def may_go_on(status: str, recorded: Collection[str], scanned: Collection[str]) -> bool:
    """Whether a package that an earlier run began can become the package of this directory.

    Not if it is sealed, and not if it holds a path that the directory has lost: nothing takes an entry out of a
    package.

    Args:
        status: of the package.
        recorded: paths of its entries.
        scanned: paths of the directory's entries.
    """
    return status == "open" and set(scanned).issuperset(recorded)
