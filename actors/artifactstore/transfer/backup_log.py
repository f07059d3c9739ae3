"""The log of a backup: all of its files read and found whole and in order, then handed out piece by piece."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Self

from artifactstore.transfer.directory import BackupDirectory
from artifactstore.transfer.log_files import LogFileSource, Version
from artifactstore.transfer.objects import named_by
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.log_file import LogFileSummary, check_link

__all__ = ["BackupLog"]


class BackupLog:
    """A log that was found whole; `verified` makes one.

    Attributes:
        last: the end of its chain; None if it has no file.
        events: how many it holds.
        bytes: of the objects that they name, counted each time.
    """

    def __init__(self) -> None:
        self._files: dict[Path, Version] = {}
        self.last: LogFileSummary | None = None
        self.bytes = 0

    @property
    def events(self) -> int:
        """How many events it holds, and so the sequence of the last one."""
        return 0 if self.last is None else self.last.header.last

    @property
    def digest(self) -> str | None:
        """Checksum of the last file, which stands for the whole log; None if there is none."""
        return None if self.last is None else str(self.last.digest)

    @classmethod
    async def verified(
        cls,
        directory: BackupDirectory,
        *,
        head: int = 0,
        compare: Callable[[Sequence[StoredEvent]], Awaitable[None]] | None = None,
    ) -> Self:
        """Read all of a backup's log.

        Args:
            directory: the backup.
            head: how far to compare, and
            compare: what to do so with.

        Raises:
            LogFileInvalid: a file is not whole, or is missing.
            UnknownEventType: a newer release wrote it.
        """
        log = cls()
        for path in await directory.log_files():
            async with LogFileSource.open(path) as file:
                summary = await file.verify(log._count)
                check_link(path.name, summary.header, log.last)
                log._files[path], log.last = file.version, summary
                if compare is not None and summary.header.after < head:
                    async with aclosing(file.batches()) as batches:
                        async for batch, _bytes in batches:
                            await compare(batch)
        return log

    def _count(self, events: Sequence[StoredEvent], _bytes: int) -> None:
        self.bytes += sum(each.size_bytes for each in named_by(events))

    async def batches(self) -> AsyncGenerator[tuple[StoredEvent, ...]]:
        """Its events in order.

        Raises:
            LogFileInvalid: a file has changed since.
        """
        for path, version in self._files.items():
            async with LogFileSource.open(path) as file:
                file.check_version(version)
                async with aclosing(file.batches()) as batches:
                    async for batch, _bytes in batches:
                        yield batch
