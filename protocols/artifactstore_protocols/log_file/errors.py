"""The errors of imported log files and logs: a file is not intact, or a log differs from this one."""

from typing import override

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["LogDiffers", "LogFileInvalid"]


class LogFileInvalid(ArtifactStoreError):
    """A log file is cut off or changed, or is not a log file.

    Attributes:
        file: the name of the file, as the caller of the reader gave it.
        offset: the offset of the invalid item, in bytes.
        reason: what is wrong with the item.
    """

    file: str
    offset: int
    reason: str

    @override
    def __str__(self) -> str:
        if self.offset == 0:
            remedy = "name a whole log file, as `artifactstore events --export` or a backup wrote it"
            return f"log file {self.file} cannot be used: {self.reason}; {remedy}"
        return f"log file {self.file} is not intact at byte {self.offset}: {self.reason}; take another copy of it"


class LogDiffers(ArtifactStoreError):
    """Neither of two logs is the beginning of the other.

    Attributes:
        source: the name of the other log.
        sequence: the first sequence at which the logs hold different events.
    """

    source: str
    sequence: int
    template = (
        "the log of this store and that of {self.source} differ from sequence {self.sequence} on; "
        "nothing can be added to either from the other, so use an empty store or the one that it came from"
    )
