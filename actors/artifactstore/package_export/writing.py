"""Export of a package: it reads and verifies objects in batches. A thread writes each batch while the next is read."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec.structs import replace

from artifactstore.concurrently import for_each_concurrent
from artifactstore.environment import check_cancelled, in_thread
from artifactstore.ingest.finalizing import entry_totals
from artifactstore.package_export.cloning import OpenFileOf, clone_checked
from artifactstore.package_export.comparison import compare
from artifactstore.package_export.names import parts_of
from artifactstore.package_export.new_file import NewFile
from artifactstore.package_export.reading import Read, ReadMany, check_entries
from artifactstore.package_export.refused_entries import FileRefused
from artifactstore.package_export.survey import complete_files, misnamed_files
from artifactstore.package_export.target import ExportTarget
from artifactstore.refusals import ExportIncomplete, TargetRefused
from artifactstore_protocols.export_choice import ChosenEntries
from artifactstore_protocols.purging import ContentPurged
from artifactstore_protocols.records import ExportReport, FileRecord, IngestProgress, RefusedFile
from artifactstore_protocols.storage import ObjectDamaged, ObjectMissing, StorageError

__all__ = ["write_package"]

_BATCH_FILES: Final = 1024
_BATCH_BYTES: Final = 8 << 20
"""Limits of a batch, in files and in bytes. A batch is written while the next one is read."""

_SMALL_BYTES: Final = 1 << 20
"""Maximum size of an object that is read in a batch."""

type _Batch = list[tuple[FileRecord, bytes | StorageError]]


async def write_package(
    package_id: str,
    chosen: ChosenEntries,
    directory: Path,
    read: Read,
    read_many: ReadMany,
    open_file: OpenFileOf,
    progress: Callable[[IngestProgress], None] | None,
    *,
    update: bool = False,
    keep_going: bool = False,
) -> ExportReport:
    """Write the entries of a package below a directory, or continue an interrupted export.

    Args:
        package_id: id of the package.
        chosen: its files, symbolic links and empty directories that are exported. The links are created last.
        directory: a new or an empty directory, or one that holds an unfinished export of this package.
        read: reads one object.
        read_many: reads small objects.
        open_file: opens the file of a large object, for a reflink.
        progress: called with the progress of the export.
        update: whether the directory may hold anything; files and links that differ from the package are replaced.
        keep_going: whether to write the other files if objects are damaged or missing.

    Raises:
        PathRefused: a package may not hold the path or the link target of an entry; nothing was written.
        TargetRefused: the directory cannot be used, or accepts no more. A repeated call continues the export.
        ExportIncomplete: the directory rejected some entries, or they could not be read; all others are written.
    """
    target = await in_thread(partial(_opened, package_id, chosen.entries, directory, update=update))
    try:
        export = _Export(package_id, chosen, directory, target, read, read_many, open_file, progress)
        return await export.run(update=update, keep_going=keep_going)
    finally:
        target.close()


def _opened(package_id: str, entries: Sequence[FileRecord], directory: Path, *, update: bool) -> ExportTarget:
    """Check the paths and links of all entries, and open the target."""
    check_entries(entries)
    return ExportTarget.open(directory, package_id, update=update)


class _Export:
    """One export: the entries, the target, the entries that are not written, and the progress."""

    def __init__(
        self,
        package_id: str,
        chosen: ChosenEntries,
        directory: Path,
        target: ExportTarget,
        read: Read,
        read_many: ReadMany,
        open_file: OpenFileOf,
        progress: Callable[[IngestProgress], None] | None,
    ) -> None:
        self._package_id = package_id
        self._chosen = chosen
        self._files = [entry for entry in chosen.entries if entry.kind == "file"]
        self._directory = directory
        self._target = target
        self._read = read
        self._read_many = read_many
        self._open_file = open_file
        self._progress = progress
        self._refused: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}
        self._unchanged = set[str]()
        self._replaced = frozenset[str]()
        self._others: tuple[str, ...] = ()
        self._keep_going = False
        self._done = IngestProgress(0, len(self._files), 0, sum(file.size_bytes for file in self._files))

    async def run(self, *, update: bool, keep_going: bool) -> ExportReport:
        self._keep_going = keep_going
        complete = frozenset[str]()
        if self._target.used:
            complete = await self._on_target(partial(self._compare, update=update))
        self._tell([file for file in self._files if file.path in complete])
        await self._write_files(file for file in self._files if file.path not in complete)
        await self._on_target(self._place_entries)
        report = await self._on_target(self._report)
        if not report.refused:  # with an unreadable object, an update continues
            await self._on_target(self._target.finish)
        if not report.complete:
            raise ExportIncomplete(report)
        return report

    def _compare(self, *, update: bool) -> frozenset[str]:
        """Return the paths of the files that are complete, and note what else the target holds."""
        entries = self._chosen.entries
        if not update:
            complete = complete_files(self._target, entries, check_cancelled)
        else:
            complete, corrected, differing, self._others = compare(self._target, entries, check_cancelled)
            self._replaced = differing | corrected
        self._unchanged |= complete - self._replaced
        return complete

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
            try:
                await self._write_large(file)
            except (ObjectMissing, ObjectDamaged, ContentPurged) as error:
                self._note_unreadable(file, error)

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
        for file, content in batch:
            if isinstance(content, StorageError):
                self._note_unreadable(file, content)

    def _note_unreadable(self, file: FileRecord, error: StorageError) -> None:
        """Note a file that is damaged, missing or purged. Raise any other error, or all without `keep_going`."""
        if not self._keep_going or not isinstance(error, ObjectMissing | ObjectDamaged | ContentPurged):
            raise error
        self._unreadable[file.path] = str(error)

    def _write_small(self, batch: Sequence[tuple[FileRecord, bytes]]) -> list[FileRecord]:
        written: list[FileRecord] = []
        for file, content in batch:
            new = self._target.new_file(executable=file.executable)
            try:
                new.write(content)
                replace_file = file.path in self._replaced
                self._target.place(new, parts_of(file.path), executable=file.executable, replace=replace_file)
                written.append(file)
            except FileRefused as refusal:
                self._refused[file.path] = refusal.reason
            finally:
                new.close()
        return written

    def _place_entries(self) -> None:
        """Create the empty directories, then the links."""
        others = (entry for entry in self._chosen.entries if entry.kind != "file")
        for entry in sorted(others, key=lambda entry: entry.kind == "link"):
            check_cancelled()
            try:
                if entry.kind == "link":
                    replace_link = entry.path in self._replaced
                    target = entry.target.encode()
                    if not self._target.place_link(parts_of(entry.path), target, replace=replace_link):
                        self._unchanged.add(entry.path)
                else:
                    self._target.place_directory(parts_of(entry.path))
            except FileRefused as refusal:
                self._refused[entry.path] = refusal.reason

    async def _write_large(self, file: FileRecord) -> None:
        """Write one file: as a reflink of its object, or else chunk by chunk."""
        new = await self._on_target(partial(self._target.new_file, executable=file.executable))
        try:
            if not await self._cloned(file, new):
                async with self._read(file.content_address) as chunks:
                    async for chunk in chunks:
                        await self._on_target(partial(new.write, chunk))
            parts, replace_file = parts_of(file.path), file.path in self._replaced
            place = partial(self._target.place, new, parts, executable=file.executable, replace=replace_file)
            await self._on_target(place)
            self._tell([file])
        except FileRefused as refusal:
            self._refused[file.path] = refusal.reason
        finally:
            with trio.CancelScope(shield=True):
                await in_thread(new.close)

    async def _cloned(self, file: FileRecord, new: NewFile) -> bool:
        source = await self._open_file(file.content_address)
        if source is None:
            return False
        clone = partial(clone_checked, source, new.fd, file.content_address, file.size_bytes, check_cancelled)
        return await self._on_target(clone)

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

    def _report(self) -> ExportReport:
        """Compare the target with the package, and return the report."""
        lacking = self._refused.keys() | self._unreadable.keys()
        written = [entry for entry in self._chosen.entries if entry.path not in lacking]
        misnamed = misnamed_files(self._target, written, check_cancelled)
        there = [entry for entry in written if entry.path not in misnamed]
        files, links, directories, size_bytes = entry_totals((entry.kind, entry.size_bytes) for entry in there)
        unchanged = sum(entry.path in self._unchanged for entry in there)
        replaced = sum(entry.path in self._replaced for entry in there)
        return ExportReport(
            package_id=self._package_id,
            directory=str(self._directory),
            files=files,
            bytes=size_bytes,
            links=links,
            directories=directories,
            unchanged=unchanged,
            replaced=replaced,
            new=files + links - unchanged - replaced,
            refused=_named({**self._refused, **misnamed}),
            unreadable=_named(self._unreadable),
            left_out=self._chosen.escaping,
            vanished=self._chosen.vanished,
            others=self._others,
            limits=self._target.limits.noted(),
            wrong_executable_bits=self._target.wrong_executable_bits,
        )


def _named(reasons: Mapping[str, str]) -> tuple[RefusedFile, ...]:
    return tuple(RefusedFile(path, reason) for path, reason in sorted(reasons.items()))


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
