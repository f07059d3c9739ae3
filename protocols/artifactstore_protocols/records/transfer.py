"""Results and progress of moving logs and backups, as frozen values."""

from msgspec import Struct

from artifactstore_protocols.records.care import ObjectFlaws
from artifactstore_protocols.records.export import TargetLimit

__all__ = ["BackupCheck", "BackupReport", "LogExport", "LogImport", "RestoreReport", "TransferProgress"]


class TransferProgress(Struct, frozen=True):
    """The progress of a log's export or import, of a backup, of a restore, or of a backup's check.

    `bytes` counts the bytes of the log file. If objects are copied as well, it counts the bytes of the objects that the
    log names. `bytes_total` is None while it is unknown.
    """

    events: int
    events_total: int
    bytes: int
    bytes_total: int | None


class LogExport(Struct, frozen=True):
    """The result of exporting the log to a file.

    Attributes:
        file: the path of the file.
        events: the number of events in the file, which is also the sequence of the last one.
        bytes: the length of the file.
        digest: the checksum in the footer of the file; equal logs have equal checksums.
        limits: the limitations of the target's file system.
    """

    file: str
    events: int
    bytes: int
    digest: str
    limits: tuple[TargetLimit, ...]


class LogImport(Struct, frozen=True):
    """The result of importing a log from a file.

    Attributes:
        file: the path of the file.
        events: the number of events in the file.
        written: the number of these events that were new.
        sequence: the head of this log after the import; beyond `events` if this log already had later events.
        digest: the checksum in the footer of the file.
        flaws: the objects that this log names and that this store lacks, or has with another size.
        failures: what is left of a redaction that the import took over. `redact` with the same text does it.
    """

    file: str
    events: int
    written: int
    sequence: int
    digest: str
    flaws: ObjectFlaws
    failures: tuple[str, ...] = ()


class BackupReport(Struct, frozen=True):
    """The result of creating or updating a backup.

    Attributes:
        directory: the directory of the backup.
        events: the number of events in the backup's log.
        new_events: the number of these events that this call added.
        objects: the number of objects that this store names.
        new_objects: the number of objects that this call copied.
        new_bytes: the total size of the objects that this call copied.
        digest: the checksum of the last file of the backup's log, which covers the whole log.
        flaws: the objects of this store that could not be copied, since they are damaged or missing.
        pruned_objects: the number of objects, collected by the store, that this call removed from the backup.
        pruned_bytes: the total size of the objects that this call removed.
        limits: the limitations of the directory's file system.
    """

    directory: str
    events: int
    new_events: int
    objects: int
    new_objects: int
    new_bytes: int
    digest: str
    flaws: ObjectFlaws
    pruned_objects: int
    pruned_bytes: int
    limits: tuple[TargetLimit, ...]


class RestoreReport(Struct, frozen=True):
    """The result of restoring a store from a backup.

    Attributes:
        directory: the directory of the backup.
        events: the number of events in the backup's log.
        written: the number of these events that were new.
        sequence: the head of this log after the restore.
        new_objects: the number of objects that were put into the store.
        new_bytes: the total size of these objects.
        digest: as in `BackupReport`.
        flaws: the objects that the store still lacks, since they are damaged or missing in the backup.
        failures: as in `LogImport`.
    """

    directory: str
    events: int
    written: int
    sequence: int
    new_objects: int
    new_bytes: int
    digest: str
    flaws: ObjectFlaws
    failures: tuple[str, ...] = ()


class BackupCheck(Struct, frozen=True):
    """The result of reading every byte of a backup.

    `objects` is the number of objects that the backup's log names, and `bytes` is their total size. The other
    attributes are as in `BackupReport`.
    """

    directory: str
    events: int
    objects: int
    bytes: int
    digest: str
    flaws: ObjectFlaws
