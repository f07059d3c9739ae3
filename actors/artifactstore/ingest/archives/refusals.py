"""The error that says why an archive cannot be ingested, and what to do."""

from typing import override

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["ArchiveRefused"]

_SHOWN_CHARACTERS = 200


class ArchiveRefused(ArtifactStoreError):
    """An archive is damaged, is too large when it is unpacked, or has a form that is not read.

    Attributes:
        archive: the name of the archive.
        member: the path of a member, as the archive says it; empty if the reason is not about one.
        reason: what is wrong, and what to do.
    """

    archive: str
    member: str
    reason: str

    @override
    def __str__(self) -> str:
        where = f": {self.member[:_SHOWN_CHARACTERS]!r}" if self.member else ""
        return f"archive {self.archive!r} refused{where}: {self.reason}"
