"""What is wrong with a log that was carried here: its file is not intact, or it is another log."""

from dataclasses import dataclass

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["LogDiffers", "LogFileInvalid"]


@dataclass(eq=False)
class LogFileInvalid(ArtifactStoreError):
    """A log file that is not what was written: cut off, changed, or something else altogether.

    Attributes:
        file: what the reader was told to call it.
        offset: of the item that is wrong, in bytes.
        reason: what is wrong with it.
    """

    file: str
    offset: int
    reason: str
    template = "log file {self.file} is not intact at byte {self.offset}: {self.reason}; take another copy of it"


@dataclass(eq=False)
class LogDiffers(ArtifactStoreError):
    """Two logs of which neither is the beginning of the other.

    Attributes:
        source: what the other log is called.
        sequence: the first one at which they hold different events.
    """

    source: str
    sequence: int
    template = (
        "the log of this store and that of {self.source} differ from sequence {self.sequence} on; "
        "nothing can be added to either from the other, so use an empty store or the one that it came from"
    )
