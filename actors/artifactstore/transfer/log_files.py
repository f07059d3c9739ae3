"""One log file on disk: its bytes made from a log as they are wanted, and read back twice over.

Who takes events from a file reads it to its end first, since only there stands what proves it whole, and then again
for the events. Both readings use one open file, and notice when it changes in between.
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
"""How much of a log is held at a time, if no event is longer; a manifest can have 42 MB."""

_EVENTS = 500
_PIECE_BYTES = 1 << 20


class LogFileText:
    """The bytes of a file that is being made from a log.

    Args:
        store: has the log; that it grows meanwhile does no harm.
        header: which part of it.
        before: told of events before their bytes are handed out.

    Attributes:
        events, bytes: how many were handed out.
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
        """What the file is, once all of its bytes were handed out."""
        return self._encoder.summary

    async def chunks(self) -> AsyncGenerator[bytes]:
        """All of it, once.

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
        limit = min(_EVENTS, self._header.last - after)
        batch = await self._store.read_events(after=after, limit=limit, bytes_max=READ_BYTES)
        if not batch:
            raise LogDamaged(after + 1, f"it is missing, and the head says {self._header.last}")
        return batch

    def _counted(self, chunk: bytes) -> bytes:
        self.bytes += len(chunk)
        return chunk


class LogFileSource:
    """A file that events are taken from; `open` makes one.

    Attributes:
        name: what errors call it.
        size_bytes: how long it is.
        version: changes whenever the file does.
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
            SourceUnreadable: there is none, or it cannot be read.
            LogFileInvalid: it is no regular file.
        """
        name = name or str(path)
        try:
            # A pipe would wait for somebody who writes to it.
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
        """Read all of it, and find it whole.

        Either argument may refuse what it gets, and neither is called again then. The rest is read all the same: what
        they refuse may be wrong because the file is.

        Args:
            take: gets the events of each piece, and the piece's length in bytes.
            check_header: gets the header, before the first event is taken.

        Raises:
            LogFileInvalid: it is not whole.
            EventRefused, UnknownEventType, LogFilePartial: it is, and an argument has refused a part of it.
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
        """The events again, as many at a time as a piece of the file holds, and that piece's length in bytes.

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
        """See that the file is the one that had this version when it was read before.

        Raises:
            LogFileInvalid: it is another one, or has been changed.
        """
        if _version(os.fstat(self._fd)) != version:
            raise LogFileInvalid(self.name, 0, "it changed while it was read")

    async def _piece(self, offset: int) -> bytes:
        def read() -> bytes:
            piece = os.pread(self._fd, _PIECE_BYTES, offset)
            self.check_version(self.version)
            return piece

        try:
            return await in_thread(read)
        except OSError as error:
            raise LogFileInvalid(self.name, offset, error.strerror or str(error)) from error


def _version(found: os.stat_result) -> Version:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _joined(encoder: LogFileEncoder, batch: Sequence[StoredEvent]) -> bytes:
    return b"".join(map(encoder.add, batch))
