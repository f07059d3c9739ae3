"""The log of a backup. All files and events are verified before any event is used."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self

from artifactstore.database.log_validator import LogValidator
from artifactstore.refusals import BackupRefused
from artifactstore.transfer.directory import BackupDirectory
from artifactstore.transfer.log_files import LogFileSource, Version
from artifactstore.transfer.objects import NamedObject, named_by
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogFileSummary, check_link

__all__ = ["BackupLog"]


class BackupLog:
    """A verified log. Create it with `verified`.

    Attributes:
        bytes: total size of the objects that the events name. An object counts each time that events name it.
    """

    def __init__(self, validator: LogValidator) -> None:
        self._validator = validator
        self._files: dict[Path, Version] = {}
        self._last: LogFileSummary | None = None
        self.bytes = 0

    @property
    def last(self) -> LogFileSummary:
        """The summary of the last log file."""
        if self._last is None:
            raise AssertionError("a log that was found whole has a file")
        return self._last

    @property
    def events(self) -> int:
        """The number of events, which is also the sequence of the last event."""
        return self.last.header.last

    @property
    def digest(self) -> str:
        """The digest of the last file. It covers the whole log, as each file holds the digest of the one before."""
        return str(self.last.digest)

    @classmethod
    @asynccontextmanager
    async def verified(
        cls,
        directory: BackupDirectory,
        *,
        scan: Callable[[Sequence[StoredEvent]], None] = lambda _events: None,
    ) -> AsyncGenerator[Self]:
        """Read and verify the whole log of a backup, and keep what it implies in a temporary file for the block.

        Args:
            directory: the backup.
            scan: called with each batch of events, in order, after the batch was checked.

        Raises:
            BackupRefused: the backup has no log.
            LogFileInvalid: a log file is damaged or missing.
            UnknownEventType: a newer release wrote an event.
            EventRefused: an event breaks a rule of the log.
        """
        async with LogValidator.opened() as validator:
            log = cls(validator)

            async def take(events: Sequence[StoredEvent], _bytes: int) -> None:
                await validator.validate(events)
                scan(events)
                log.bytes += sum(each.size_bytes for each in named_by(events))

            for path in await directory.log_files():
                async with LogFileSource.open(path) as file:
                    summary = await file.verify(take, partial(check_link, path.name, previous=log._last))
                    log._files[path], log._last = file.version, summary
            await validator.finish()
            if log._last is None:
                reason = "it has no log: the first backup into it broke off before its end, so make the backup again"
                raise BackupRefused(directory.name, reason)
            yield log

    async def kept(self, named: Sequence[NamedObject]) -> list[NamedObject]:
        """Return the objects that are live or condemned at the end of the log. Those at other places are gone."""
        states = await self._validator.object_states([each.place for each in named])
        return [each for each in named if states.get(each.place) not in {"retired", "removed"}]

    async def batches(self) -> AsyncGenerator[tuple[StoredEvent, ...]]:
        """Yield the events in order.

        Raises:
            LogFileInvalid: a file has changed since `verified` read it.
        """
        for path, version in self._files.items():
            async with LogFileSource.open(path) as file:
                file.check_version(version)
                async with aclosing(file.batches()) as batches:
                    async for batch, _bytes in batches:
                        yield batch
