"""An import that is not finished: what the head of a log holds of it, and whom the head lets write.

A log that is taken over is the beginning of another one until its last event has arrived. An event that somebody else
writes in between makes it a third log, which can never be finished. So an import notes its end in the head row before
it brings anything, and takes the note away with its last event. As long as the note is there, the head refuses every
command and every import of another log, in whatever process. A restore is an import that brings objects, too.
"""

from dataclasses import dataclass
from typing import ClassVar

from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "ImportRun",
    "ImportUnfinished",
    "LogEnd",
    "UnfinishedImport",
    "admit_command",
    "admit_import",
    "after_import",
]


class LogEnd(Struct, frozen=True):
    """The last event of a log. Ids are made anew for every event, so logs that share one share all before it.

    Attributes:
        sequence: its place.
        event_id: its id.
    """

    sequence: int
    event_id: str


class UnfinishedImport(Struct, frozen=True):
    """What the head row holds of an import that is not finished.

    Attributes:
        end: the event that finishes it.
        command: what to run to finish it.
    """

    end: LogEnd
    command: str


class ImportRun(Struct, frozen=True):
    """One import of one log, as the head is asked to admit it.

    Attributes:
        source: what errors call the log that it takes over.
        head: how much of it the store held when the run began, found equal.
        until: what the head holds of it until it is finished.
        continues: the end of an unfinished import that the log was found to hold.
    """

    source: str
    head: int
    until: UnfinishedImport
    continues: LogEnd | None = None


@dataclass(eq=False)
class ImportUnfinished(ArtifactStoreError):
    """The log is being taken over from elsewhere, and takes nothing else until that is finished; nothing was written.

    Attributes:
        code: stable name of this refusal.
        head: how many events are there.
        end: how many there will be.
        command: what finishes it.
    """

    code: ClassVar[str] = "import-unfinished"
    head: int
    end: int
    command: str
    template = (
        "an import into this store is not finished: {self.head} of {self.end} events are here, and nothing else "
        "can be written before the last one; wait for it if it runs, or finish it by `{self.command}`"
    )


def admit_command(found: UnfinishedImport | None, head: int) -> None:
    """Refuse a command while an import is unfinished.

    Raises:
        ImportUnfinished: one is.
    """
    if found is not None:
        raise ImportUnfinished(head, found.end.sequence, found.command)


def admit_import(found: UnfinishedImport | None, run: ImportRun, head: int) -> None:
    """Refuse an import while another one is unfinished. A log that holds the end of that one finishes it.

    Raises:
        ImportUnfinished: the unfinished import is of another log, or of more of this one.
    """
    if found is not None and found.end not in {run.until.end, run.continues}:
        admit_command(found, head)


def after_import(head: int, run: ImportRun) -> UnfinishedImport | None:
    """What the head row holds after a run has brought the log to `head`."""
    return None if head >= run.until.end.sequence else run.until
