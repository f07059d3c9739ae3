"""Methods of the registry that move logs and objects: export, import, backup, restore and replay."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from artifactstore.arguments import checked
from artifactstore.callbacks import thread_safe_callback, with_progress
from artifactstore.registry.base import DEFAULT_PRINCIPAL, StoreCalls
from artifactstore.supervision import NO_TIME_LIMIT
from artifactstore_protocols.collection import ObjectTotals
from artifactstore_protocols.commands import ReplaceObjects
from artifactstore_protocols.messages import Replay
from artifactstore_protocols.records import (
    BackupReport,
    LogExport,
    LogImport,
    ReplayProgress,
    ReplayReport,
    RestoreReport,
    TransferProgress,
)

__all__ = ["TransferCalls"]


class TransferCalls(StoreCalls):
    """The methods that move logs and objects: export, import, backup, restore and replay."""

    @checked
    async def export_events(
        self, file: Path, *, progress: Callable[[TransferProgress], None] | None = None
    ) -> LogExport:
        """Write the log up to its current head to a file that `import_events` of any store can read.

        The file appears complete and durable, or not at all. Equal logs produce equal files.

        Raises:
            TargetRefused: the file cannot be written.
            LogDamaged: an event is missing from the log.
        """
        from artifactstore.transfer.exporting import export_log  # noqa: PLC0415 - see above

        return await export_log(self._store, file, progress)

    @checked
    async def exported_events(self) -> AsyncGenerator[bytes]:
        """Yield the bytes of the file that `export_events` would write.

        Raises:
            LogFileOvertaken: a part of the log was redacted meanwhile. Discard the bytes, and call this again.
            LogDamaged: an event is missing from the log.
        """
        from artifactstore.transfer.exporting import log_text  # noqa: PLC0415 - see above

        async with aclosing((await log_text(self._store)).chunks()) as chunks:
            async for chunk in chunks:
                yield chunk

    @checked
    async def import_events(
        self, file: Path, *, progress: Callable[[TransferProgress], None] | None = None
    ) -> LogImport:
        """Import the log in a file that `export_events` wrote, unchanged: ids, times, principals and idempotency keys.

        The store's log must be a prefix of the file's log; an empty log is a prefix of any. Existing events are
        compared, later ones are written. Nothing is written before the whole file was read and is valid. The store
        accepts no other writes until the last event is written. A repeated call continues an interrupted import. The
        file does not hold the objects. The answer names the objects that this store lacks.

        Raises:
            LogFileInvalid, LogFilePartial, UnknownEventType, EventRefused: the file is rejected. Nothing was written.
            LogDiffers: the store's log is not a prefix of the file's log.
            ImportUnfinished: another import has begun and must be finished first.
        """
        actors = self._actors
        from artifactstore.transfer.importing import import_log  # noqa: PLC0415 - see above

        return await import_log(self._store, actors.writer, actors.storage, file, progress)

    @checked
    async def backup(
        self, directory: Path, *, prune: bool = False, progress: Callable[[TransferProgress], None] | None = None
    ) -> BackupReport:
        """Copy the log and all objects that it names to a directory, or update the backup in that directory.

        The backup is of the store at the time of the call; other writes continue meanwhile. Only missing events and
        objects are copied, and every byte is checked. The report lists objects of this store that are damaged or
        missing; all others are copied. A repeated call continues an interrupted backup.

        Args:
            directory: a new or empty directory, or an earlier backup.
            prune: whether to remove from the backup the objects that this store has collected.
            progress: called repeatedly with the work that is done.

        Raises:
            BackupRefused, LogDiffers: the directory holds something else, or the backup of another store.
            LogFileInvalid: the last log file in the directory is damaged.
            TargetRefused, StorageError: the backup cannot be written.
            LogDamaged: an event is missing from the log.
        """
        from artifactstore.last_runs import note_backup  # noqa: PLC0415 - see above
        from artifactstore.transfer.backup import back_up  # noqa: PLC0415 - see above

        report = await back_up(self._store, self._actors.storage, directory, progress, prune=prune)
        await note_backup(self._store, report)
        return report

    @checked
    async def preview_pruning(self, directory: Path) -> ObjectTotals:
        """Return how many objects, and bytes, `backup` with `prune` would remove from a backup.

        Raises:
            BackupRefused: the directory holds no backup.
        """
        from artifactstore.transfer.pruning import preview_pruning  # noqa: PLC0415 - see above

        return await preview_pruning(self._store, directory)

    @checked
    async def restore(
        self,
        directory: Path,
        *,
        principal: str = DEFAULT_PRINCIPAL,
        progress: Callable[[TransferProgress], None] | None = None,
    ) -> RestoreReport:
        """Restore a backup into this store: its log, unchanged, and the objects that this store lacks.

        The store's log must be a prefix of the backup's log; that of a new store is. Every byte is checked. The report
        lists objects that are damaged or missing in the backup; all others are restored. The store accepts no other
        writes until the last event is written. A repeated call continues an interrupted restore.

        Raises:
            BackupRefused: the directory holds no backup.
            LogFileInvalid, UnknownEventType, EventRefused, LogDiffers: the backup's log is damaged, breaks a rule, or
                belongs to another store. Nothing was written.
            ImportUnfinished: another import has begun and must be finished first.
            StorageError: an object could not be stored.
        """
        actors = self._actors
        from artifactstore.transfer.restore import restore  # noqa: PLC0415 - see above

        async def commit(command: ReplaceObjects) -> None:
            await self._commit(command, principal, None)

        return await restore(self._store, actors.writer, actors.storage, directory, progress, commit)

    @checked
    async def replay(
        self, *, check: bool = False, progress: Callable[[ReplayProgress], None] | None = None
    ) -> ReplayReport:
        """Rebuild the projection from the log and repair the live tables; with `check`, only compare them.

        Raises:
            UnknownEventType, EventRefused: an event breaks a rule of the log. The tables are unchanged.
            Exception: what `progress` raised. The replay stops at its next batch.
        """

        async def replay(tell: Callable[[ReplayProgress], None] | None) -> ReplayReport:
            message = Replay(rebuild=not check, progress=None if tell is None else thread_safe_callback(tell))
            return await self._actors.projection.ask(message, timeout=NO_TIME_LIMIT)

        return await with_progress(progress, replay)
