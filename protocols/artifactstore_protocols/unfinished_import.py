"""Unfinished imports: the note in the head row of a log, and the rules for who may write meanwhile.

While an import runs, the store's log is a prefix of the imported log. An event from another writer would make it a
third log, which can never be completed. So an import notes its end in the head row before it writes any events, and
deletes the note with its last event. While the note is there, the head rejects every command, and every import whose
log does not hold the noted event, in every process. A restore is an import that also copies objects.
"""

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
    """The last event of a log. Every event gets a new id, so logs that share an event share all events before it.

    Attributes:
        sequence: the sequence of the event.
        event_id: the id of the event.
    """

    sequence: int
    event_id: str


class UnfinishedImport(Struct, frozen=True):
    """The note of an unfinished import in the head row.

    Attributes:
        end: the event that finishes it.
        command: the command line that finishes it.
    """

    end: LogEnd
    command: str


class ImportRun(Struct, frozen=True):
    """One import of one log, as the head is asked to admit it.

    Attributes:
        source: the name of the imported log, for errors.
        head: the sequence up to which the store already held the imported log when the run began.
        until: the note that the head holds until the import is finished.
        continues: the end of an unfinished import, if the imported log holds that event.
    """

    source: str
    head: int
    until: UnfinishedImport
    continues: LogEnd | None = None


class ImportUnfinished(ArtifactStoreError):
    """An import into this log is unfinished, and the log accepts nothing else until it is. Nothing was written.

    Attributes:
        head: the number of events in the log now.
        end: the number of events when the import is finished.
        command: the command line that finishes the import.
    """

    head: int
    end: int
    command: str
    template = (
        "an import into this store is not finished: {self.head} of {self.end} events are here, and nothing else "
        "can be written before the last one; wait for it if it runs, or finish it by `{self.command}`"
    )


def admit_command(found: UnfinishedImport | None, head: int) -> None:
    """Reject a command while an import is unfinished.

    Raises:
        ImportUnfinished: an import is unfinished.
    """
    if found is not None:
        raise ImportUnfinished(head, found.end.sequence, found.command)


def admit_import(found: UnfinishedImport | None, run: ImportRun, head: int) -> None:
    """Reject an import while another one is unfinished. A log that holds the end of that import may finish it.

    Raises:
        ImportUnfinished: the log of this import does not hold the last event of the unfinished one.
    """
    if found is not None and found.end not in {run.until.end, run.continues}:
        admit_command(found, head)


def after_import(head: int, run: ImportRun) -> UnfinishedImport | None:
    """Return the note for the head row after a run has brought the log to `head`; None if the import is finished."""
    return None if head >= run.until.end.sequence else run.until
