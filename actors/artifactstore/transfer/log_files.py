"""One log file on disk: `LogFileText` produces its bytes from a log, and `LogFileSource` reads its events.

A caller that uses the events reads the file twice. The first pass verifies the file, since only its end proves that it
is complete. The second pass yields the events. Both passes use one open file, and detect if the file changes meanwhile.
"""

import errno
import os
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Self

from artifactstore.database.errors import LogDamaged
from artifactstore.environment import in_thread
from artifactstore.refusals import LogFilePartial
from artifactstore_protocols.dataplane import SourceUnreadable
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import UnknownEventType
from artifactstore_protocols.events import EventRefused, StoredEvent
from artifactstore_protocols.log_file import (
    LogFileEncoder,
    LogFileHeader,
    LogFileInvalid,
    LogFileReader,
    LogFileSummary,
)

__all__ = ["READ_BYTES", "LogFileSource", "LogFileText", "Version"]

type Version = tuple[int, int, int, int, int]

READ_BYTES: Final = 8 << 20
"""The most bytes of a log that are read at a time. A longer event is read alone; a manifest can have 42 MB."""

_EVENTS = 500
_PIECE_BYTES = 1 << 20


class LogFileText:
    """The bytes of a log file, produced from a log while they are read.

    Args:
        store: the store with the log. The log may grow meanwhile.
        header: which events the file holds.
        before: called with each batch of events before its bytes are yielded.

    Attributes:
        events, bytes: how many events and bytes were yielded so far.
    """

    def __init__(
        self,
        store: EventStore,
        header: LogFileHeader,
        before: Callable[[Sequence[StoredEvent]], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._header = header
        self._before = before
        self._encoder = LogFileEncoder(header)
        self.events = self.bytes = 0

    @property
    def summary(self) -> LogFileSummary:
        """The range and the digest of the file. Read them after all bytes were yielded."""
        return self._encoder.summary

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield all bytes of the file. Call this once.

        Raises:
            LogDamaged: an event is missing in the log.
        """
        encoder = self._encoder
        yield self._counted(encoder.begin())
        after = self._header.after
        while after < self._header.last:
            batch = await self._read(after)
            if self._before is not None:
                await self._before(batch)
            after = batch[-1].sequence
            self.events += len(batch)
            yield self._counted(await in_thread(partial(_joined, encoder, batch)))
        yield self._counted(encoder.end())

    async def _read(self, after: int) -> Sequence[StoredEvent]:
        """Return the next events of the log."""
        limit = min(_EVENTS, self._header.last - after)
        batch = await self._store.read_events(after=after, limit=limit, bytes_max=READ_BYTES)
        if not batch:
            raise LogDamaged(after + 1, f"it is missing, and the head says {self._header.last}")
        return batch

    def _counted(self, chunk: bytes) -> bytes:
        self.bytes += len(chunk)
        return chunk


class LogFileSource:
    """An open log file that events are read from. Create it with `open`.

    Attributes:
        name: the name of the file in errors.
        size_bytes: the length of the file in bytes.
        version: a value that changes whenever the file changes.
    """

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd
        found = os.fstat(fd)
        self.size_bytes = found.st_size
        self.version = _version(found)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path, *, name: str | None = None) -> AsyncGenerator[Self]:
        """Open a file for the block.

        Raises:
            SourceUnreadable: the file does not exist, is a directory, or cannot be opened.
            LogFileInvalid: the path is not a regular file.
        """
        name = name or str(path)
        try:
            # Without O_NONBLOCK, opening a FIFO blocks until another process opens it to write.
            fd = await in_thread(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError as error:
            raise SourceUnreadable(name, errno.errorcode.get(error.errno or 0, str(error))) from error
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode):
                raise SourceUnreadable(name, "EISDIR")
            if not stat.S_ISREG(mode):
                reason = "it is no regular file; what comes through a pipe is read from stdin, named -"
                raise LogFileInvalid(name, 0, reason)
            yield cls(name, fd)
        finally:
            os.close(fd)

    async def verify(
        self,
        take: Callable[[Sequence[StoredEvent], int], Awaitable[None]],
        check_header: Callable[[LogFileHeader], None] = lambda _header: None,
    ) -> LogFileSummary:
        """Read the whole file, and check that it is complete.

        Either callback may raise one of the errors below. Neither is called again then, but the rest of the file is
        read: if the file is damaged, that is the error to raise.

        Args:
            take: called with the events of each piece of the file and the piece's length in bytes.
            check_header: called with the header, before the first call of `take`.

        Raises:
            LogFileInvalid: the file is damaged or incomplete, or a callback raised this error.
            EventRefused, UnknownEventType, LogFilePartial: the file is complete, and a callback raised this error.
        """
        reader = LogFileReader(self.name)
        offset, checked = 0, False
        refusal: ArtifactStoreError | None = None
        while piece := await self._piece(offset):
            events = await in_thread(partial(reader.feed, piece))
            offset += len(piece)
            if refusal is not None or reader.header is None:
                continue
            try:
                if not checked:
                    check_header(reader.header)
                    checked = True
                await take(events, len(piece))
            except (EventRefused, UnknownEventType, LogFileInvalid, LogFilePartial) as error:
                refusal = error
        summary = reader.finish()
        if refusal is not None:
            raise refusal
        return summary

    async def batches(self) -> AsyncGenerator[tuple[tuple[StoredEvent, ...], int]]:
        """Yield the events of each piece of the file, and the piece's length in bytes.

        Raises:
            LogFileInvalid: the file has changed since it was opened.
        """
        reader = LogFileReader(self.name)
        offset = 0
        while piece := await self._piece(offset):
            events = await in_thread(partial(reader.feed, piece))
            yield tuple(events), len(piece)
            offset += len(piece)
        reader.finish()

    def check_version(self, version: Version) -> None:
        """Check that the file still has the version that it had in an earlier reading.

        Raises:
            LogFileInvalid: the file was replaced or changed.
        """
        if _version(os.fstat(self._fd)) != version:
            raise LogFileInvalid(self.name, 0, "it changed while it was read")

    async def _piece(self, offset: int) -> bytes:
        """Return the next piece of the file, after a check that the file has not changed; empty at the end."""

        def read() -> bytes:
            piece = os.pread(self._fd, _PIECE_BYTES, offset)
            self.check_version(self.version)
            return piece

        try:
            return await in_thread(read)
        except OSError as error:
            raise LogFileInvalid(self.name, offset, error.strerror or str(error)) from error


def _version(found: os.stat_result) -> Version:
    """Return a value that changes whenever the file changes."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _joined(encoder: LogFileEncoder, batch: Sequence[StoredEvent]) -> bytes:
    return b"".join(map(encoder.add, batch))
