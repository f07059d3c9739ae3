"""Code that fills a package from scanned sources: it stores groups of batches ahead, and commits them in order."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain, islice
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from artifactstore.environment import in_thread
from artifactstore.ingest.files_cache import FilesCache, worth_keeping
from artifactstore.ingest.pipeline import in_order
from artifactstore.ingest.results import files_written
from artifactstore.ingest.scan import Scan, ScannedFile
from artifactstore.ingest.sources import Gathered
from artifactstore.ingest.steps import IngestedFile, Steps, ingest_command, links_and_directories, runs
from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.events import Committed
from artifactstore_protocols.messages import AddDirectory, IngestTree
from artifactstore_protocols.records import IngestProgress, PackageRecord

__all__ = ["Filled", "Seen", "fill"]

_logger = logging.getLogger("artifactstore.ingest")

type _Stored = tuple[list[ScannedFile], tuple[IngestedFile, ...]]

_IN_FLIGHT: Final = 3
"""Maximum number of groups that are stored or committed at a time: one is committed, and two keep two cores busy."""


class Seen(Struct, frozen=True):
    """The sources of an ingest, and the time before they were scanned, in microseconds since the epoch."""

    gathered: Gathered
    looked_at_us: int

    @property
    def scan(self) -> Scan:
        """Return the entries."""
        return self.gathered.scan

    @property
    def files(self) -> tuple[ScannedFile, ...]:
        """Return the files in the order of `paths.tree_order`."""
        return self.gathered.scan.files


class Filled(NamedTuple):
    """The result of filling a package from a directory.

    Attributes:
        bytes: total size of the files.
        written: number of files that the package did not have before.
        reused: number of files that were not read, because of the files cache.
        sequence: the sequence of the last commit; 0 if there was none.
    """

    bytes: int
    written: int
    reused: int
    sequence: int


async def fill(
    steps: Steps,
    seen: Seen,
    message: AddDirectory | IngestTree,
    opened: Callable[[], Awaitable[PackageRecord]],
    on_existing: OnExisting,
    cache: FilesCache,
) -> Filled:
    """Store and commit the files of the sources by groups of batches; store the next groups during a commit.

    Then commit the links and the empty directories.

    Args:
        steps: calls to the other actors.
        seen: the scanned sources.
        message: the request, with the principal and the progress callback.
        opened: returns the package. It is called when a group is stored and about to be committed.
        on_existing: what to do with a path that the package has already.
        cache: the files cache of the sources.
    """
    flagged = await steps.flagged()
    source_of = seen.gathered.source_of
    progress = IngestProgress(
        files=0, files_total=len(seen.files), bytes=0, bytes_total=sum(file.size_bytes for file in seen.files)
    )
    written = reused = sequence = 0
    if message.progress is not None:
        message.progress(progress)  # the totals, before the first batch, which may be one large file

    async def store(run: list[list[ScannedFile]]) -> list[tuple[IngestedFile, ...]]:
        files = iter(await steps.store_batch(source_of, [*chain.from_iterable(run)], cache, flagged))
        return [tuple(islice(files, len(batch))) for batch in run]

    async def commit(run: list[list[ScannedFile]], stored: list[tuple[IngestedFile, ...]]) -> None:
        package_id = (await opened()).package_id
        into = partial(ingest_command, package_id, on_existing=on_existing)
        for batch, files in zip(run, stored, strict=True):
            _keep(cache, batch, files, seen.looked_at_us)
        if cache.due:  # before the commit, so that the cache has nearly every file that the log has
            await in_thread(cache.save)

        async def put(one: _Stored) -> tuple[Committed, Sequence[IngestedFile]]:
            batch, files = one
            return await steps.put(files, lambda index: source_of(batch[index]), into, message.principal)

        async def count(_one: _Stored, done: tuple[Committed, Sequence[IngestedFile]]) -> None:
            nonlocal progress, written, reused, sequence
            committed, files = done
            sequence = max(sequence, committed.sequence)
            written += files_written(committed)
            reused += sum(file.stored is None for file in files)
            size_bytes = sum(file.entry.size_bytes for file in files)
            progress = replace(progress, files=progress.files + len(files), bytes=progress.bytes + size_bytes)
            text = "batch of %d files is in the log, up to %d; %d of %d files done"
            state = (len(files), sequence, progress.files, progress.files_total)
            _logger.debug(text, *state, extra={"package": package_id})
            if message.progress is not None:
                message.progress(progress)

        # All commands are sent at once, so that the writer commits them in one transaction.
        await in_order(zip(run, stored, strict=True), put, count, in_flight=len(run))

    await in_order(runs(seen.files), store, commit, in_flight=_IN_FLIGHT)
    for entries in links_and_directories(seen.scan):
        command = ingest_command((await opened()).package_id, (), on_existing, entries)
        sequence = (await steps.commit(command, message.principal, None)).sequence
    return Filled(progress.bytes, written, reused, sequence)


def _keep(cache: FilesCache, batch: Sequence[ScannedFile], files: Sequence[IngestedFile], looked_at_us: int) -> None:
    """Add the files of a batch to the cache, if they were read and their stamps are reliable."""
    for seen, file in zip(batch, files, strict=True):
        # A file whose size changed between the scan and the read has another stamp now.
        was_read = file.stored is not None and seen.size_bytes == file.entry.size_bytes
        if was_read and seen.stamp and worth_keeping(seen.stamp, looked_at_us):
            cache.put(seen.stamp, file.entry.digest, seen.size_bytes)
