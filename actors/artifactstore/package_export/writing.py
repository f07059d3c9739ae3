"""Export of a package: it reads and verifies objects in batches. A thread writes each batch while the next is read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec.structs import replace

from artifactstore.concurrently import for_each_concurrent
from artifactstore.environment import check_cancelled, in_thread
from artifactstore.ingest.finalizing import entry_totals
from artifactstore.package_export.survey import complete_files, misnamed_files
from artifactstore.package_export.target import ExportTarget, FileRefused, parts_of
from artifactstore.refusals import ExportIncomplete, TargetRefused
from artifactstore_protocols.links import check_target, escaping_links
from artifactstore_protocols.paths import PathRefused, check_path
from artifactstore_protocols.records import ExportReport, FileRecord, IngestProgress, RefusedFile
from artifactstore_protocols.storage import StorageError

__all__ = ["write_package"]

_BATCH_FILES: Final = 1024
_BATCH_BYTES: Final = 8 << 20
"""Limits of a batch, in files and in bytes. A batch is written while the next one is read."""

_SMALL_BYTES: Final = 1 << 20
"""Maximum size of an object that is read in a batch."""

type _Read = Callable[[str], AbstractAsyncContextManager[AsyncIterator[bytes]]]
type _Batch = list[tuple[FileRecord, bytes | StorageError]]
type _ReadMany = Callable[[Sequence[str]], Awaitable[Sequence[bytes | StorageError]]]


async def write_package(
    package_id: str,
    entries: Sequence[FileRecord],
    directory: Path,
    read: _Read,
    read_many: _ReadMany,
    progress: Callable[[IngestProgress], None] | None,
) -> ExportReport:
    """Write the entries of a package below a directory, or continue an interrupted export.

    Args:
        package_id: id of the package.
        entries: all its files, symbolic links and empty directories. The links are created last.
        directory: a new or an empty directory, or one that holds an unfinished export of this package.
        read: opens the object of a content address for reading. A damaged object raises an error before its last bytes.
        read_many: reads and verifies the objects of many content addresses.
        progress: called with the progress of the export.

    Raises:
        PathRefused: a package may not hold the path or the link target of an entry; nothing was written.
        TargetRefused: the directory cannot be used, or accepts no more. A repeated call continues the export.
        ExportIncomplete: the directory rejected some entries; all others are written.
    """
    target = await in_thread(partial(_opened, package_id, entries, directory))
    try:
        return await _Export(package_id, entries, directory, target, read, read_many, progress).run()
    finally:
        target.close()


def _opened(package_id: str, entries: Sequence[FileRecord], directory: Path) -> ExportTarget:
    """Check the paths and links of all entries, and open the target."""
    # Check the entries again: their tables may be edited, or come from a log that was written by hand.
    for entry in entries:
        check_path(entry.path)
    links = {entry.path: entry.target for entry in entries if entry.kind == "link"}
    for path, link_target in links.items():
        check_target(path, link_target)
    for path in escaping_links(links, (entry.path for entry in entries if entry.kind != "link")):
        raise PathRefused(path, f"the link leads to {links[path][:80]!r}, out of the tree")
    return ExportTarget.open(directory, package_id)


class _Export:
    """One export: the entries, the target, the rejected entries and the progress."""

    def __init__(
        self,
        package_id: str,
        entries: Sequence[FileRecord],
        directory: Path,
        target: ExportTarget,
        read: _Read,
        read_many: _ReadMany,
        progress: Callable[[IngestProgress], None] | None,
    ) -> None:
        self._package_id = package_id
        self._entries = entries
        self._files = [entry for entry in entries if entry.kind == "file"]
        self._directory = directory
        self._target = target
        self._read = read
        self._read_many = read_many
        self._progress = progress
        self._refused: dict[str, str] = {}
        self._done = IngestProgress(0, len(self._files), 0, sum(file.size_bytes for file in self._files))

    async def run(self) -> ExportReport:
        complete = frozenset[str]()
        if self._target.resumed:
            complete = await self._on_target(partial(complete_files, self._target, self._entries, check_cancelled))
        self._tell([file for file in self._files if file.path in complete])
        await self._write_files(file for file in self._files if file.path not in complete)
        await self._on_target(self._place_entries)
        report = await self._on_target(partial(self._report, len(complete)))
        if report.refused:
            raise ExportIncomplete(report)
        await self._on_target(self._target.finish)
        return report

    async def _write_files(self, files: Iterable[FileRecord]) -> None:
        """Write small files in batches, and read the next batch meanwhile; then write large files one by one."""
        ready: _Batch = []
        large = list[FileRecord]()
        for batch in (*_batches(files, large), ()):
            read: _Batch = []
            steps = partial(self._write_batch, ready), partial(self._fetch, batch, read)
            await for_each_concurrent(steps, lambda step: step(), at_once=len(steps))
            ready = read
        for file in large:
            async with self._read(file.content_address) as chunks:
                await self._write_large(file, chunks)

    async def _fetch(self, files: Sequence[FileRecord], into: _Batch) -> None:
        """Read the objects of a batch, and append them to `into`."""
        if files:
            contents = await self._read_many([file.content_address for file in files])
            into.extend(zip(files, contents, strict=True))

    async def _write_batch(self, batch: _Batch) -> None:
        """Write the objects of a batch that could be read, then raise the first error of the others."""
        if not batch:
            return
        sound = [(file, content) for file, content in batch if isinstance(content, bytes)]
        self._tell(await self._on_target(partial(self._write_small, sound)))
        for _file, content in batch:
            if isinstance(content, StorageError):
                raise content

    def _write_small(self, batch: Sequence[tuple[FileRecord, bytes]]) -> list[FileRecord]:
        written: list[FileRecord] = []
        for file, content in batch:
            new = self._target.new_file(executable=file.executable)
            try:
                new.write(content)
                self._target.place(new, parts_of(file.path), executable=file.executable)
                written.append(file)
            except FileRefused as refusal:
                self._refused[file.path] = refusal.reason
            finally:
                new.close()
        return written

    def _place_entries(self) -> None:
        """Create the empty directories, then the links."""
        others = (entry for entry in self._entries if entry.kind != "file")
        for entry in sorted(others, key=lambda entry: entry.kind == "link"):
            check_cancelled()
            try:
                if entry.kind == "link":
                    self._target.place_link(parts_of(entry.path), entry.target.encode())
                else:
                    self._target.place_directory(parts_of(entry.path))
            except FileRefused as refusal:
                self._refused[entry.path] = refusal.reason

    async def _write_large(self, file: FileRecord, chunks: AsyncIterator[bytes]) -> None:
        """Write one file chunk by chunk."""
        new = await self._on_target(partial(self._target.new_file, executable=file.executable))
        try:
            async for chunk in chunks:
                await self._on_target(partial(new.write, chunk))
            place = partial(self._target.place, new, parts_of(file.path), executable=file.executable)
            await self._on_target(place)
            self._tell([file])
        except FileRefused as refusal:
            self._refused[file.path] = refusal.reason
        finally:
            with trio.CancelScope(shield=True):
                await in_thread(new.close)

    async def _on_target[T](self, work: Callable[[], T]) -> T:
        """Run a blocking call on the target in a thread; raise its `OSError` as `TargetRefused`."""
        try:
            return await in_thread(work)
        except OSError as error:
            reason = f"{error.strerror or error}; export again to continue"
            raise TargetRefused(str(self._directory), reason) from error

    def _tell(self, written: Sequence[FileRecord]) -> None:
        size_bytes = sum(file.size_bytes for file in written)
        self._done = replace(self._done, files=self._done.files + len(written), bytes=self._done.bytes + size_bytes)
        if written and self._progress is not None:
            self._progress(self._done)

    def _report(self, resumed_files: int) -> ExportReport:
        """Compare the target with the package, and return the report."""
        written = [entry for entry in self._entries if entry.path not in self._refused]
        misnamed = misnamed_files(self._target, written, check_cancelled)
        files, links, directories, size_bytes = entry_totals(
            (entry.kind, entry.size_bytes) for entry in written if entry.path not in misnamed
        )
        refused = sorted({**self._refused, **misnamed}.items())
        return ExportReport(
            package_id=self._package_id,
            directory=str(self._directory),
            files=files,
            bytes=size_bytes,
            links=links,
            directories=directories,
            resumed_files=resumed_files,
            refused=tuple(RefusedFile(path, reason) for path, reason in refused),
            limits=self._target.limits.noted(),
            wrong_executable_bits=self._target.wrong_executable_bits,
        )


def _batches(files: Iterable[FileRecord], large: list[FileRecord]) -> Iterator[list[FileRecord]]:
    """Yield the small files in batches, each for one read; add the other files to `large`."""
    batch, batch_bytes = list[FileRecord](), 0
    for file in files:
        if file.size_bytes > _SMALL_BYTES:
            large.append(file)
            continue
        if batch and (len(batch) == _BATCH_FILES or batch_bytes + file.size_bytes > _BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(file)
        batch_bytes += file.size_bytes
    if batch:
        yield batch
