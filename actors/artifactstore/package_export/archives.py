"""Export of a package as one tar or zip file, which is a stream of bytes.

The bytes follow from the entries alone, so that equal packages give equal archives on every machine and database. If an
object is damaged or missing, the stream raises an error before the archive's end. Entries keep their order: small
files are read in batches, and each large file by itself. A zip header needs the CRC-32 of the content that follows, so
a large file is read twice for a zip.
"""

import hashlib
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol

from msgspec.structs import replace

from artifactstore.environment import in_thread
from artifactstore.package_export.reading import Read, ReadMany, check_entries
from artifactstore_protocols.archives import TAR_END, ZipWriter, tar_header, tar_padding
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.records import FileRecord, IngestProgress
from artifactstore_protocols.storage import StorageError

__all__ = ["ArchiveForm", "ArchiveOutline", "archive", "outline"]

type ArchiveForm = Literal["tar", "zip"]

_SMALL_BYTES: Final = 1 << 20
"""Maximum size of an object that is read in a batch."""

_BATCH_ENTRIES: Final = 1024
_BATCH_BYTES: Final = 8 << 20


class _Writer(Protocol):
    """The headers of one form of archive."""

    needs_crc32: bool

    def header(self, entry: FileRecord, size_bytes: int, crc32: int) -> bytes:
        """Return what precedes a content."""
        ...

    def padding(self, size_bytes: int) -> bytes:
        """Return what follows a content."""
        ...

    def body(self, entry: FileRecord) -> bytes:
        """Return the content of a link or a directory."""
        ...

    def end(self) -> Iterator[bytes]:
        """Yield the end of the archive."""
        ...


class _Tar:
    needs_crc32 = False

    def header(self, entry: FileRecord, size_bytes: int, crc32: int) -> bytes:  # noqa: ARG002
        return tar_header(entry)

    def padding(self, size_bytes: int) -> bytes:
        return tar_padding(size_bytes)

    def body(self, entry: FileRecord) -> bytes:  # noqa: ARG002 - the header has the target of a link
        return b""

    def end(self) -> Iterator[bytes]:
        yield TAR_END


class _Zip:
    needs_crc32 = True

    def __init__(self) -> None:
        writer = ZipWriter()
        self.header = writer.header
        self.end = writer.end

    def padding(self, size_bytes: int) -> bytes:  # noqa: ARG002
        return b""

    def body(self, entry: FileRecord) -> bytes:
        return entry.target.encode()


class ArchiveOutline(NamedTuple):
    """What is known of an archive before any object is read.

    Attributes:
        size_bytes: its length.
        digest: a digest in hex that is equal exactly for equal archives. It is not the digest of the archive's bytes.
    """

    size_bytes: int
    digest: str


def outline(entries: Sequence[FileRecord], form: ArchiveForm) -> ArchiveOutline:
    """Return the outline of an archive: of its headers, and of the addresses of the contents between them."""
    writer: _Writer = _Tar() if form == "tar" else _Zip()
    hasher = hashlib.sha256(form.encode())
    size_bytes = 0
    for entry in entries:
        content_bytes = entry.size_bytes if entry.kind == "file" else len(writer.body(entry))
        header = writer.header(entry, content_bytes, 0)  # a CRC-32 has the same length whatever it is
        hasher.update(header)
        hasher.update(f"{entry.content_address} {entry.target}\n".encode())
        size_bytes += len(header) + content_bytes + len(writer.padding(content_bytes))
    for end in writer.end():
        hasher.update(end)
        size_bytes += len(end)
    return ArchiveOutline(size_bytes, hasher.hexdigest())


async def archive(
    entries: Sequence[FileRecord],
    form: ArchiveForm,
    read: Read,
    read_many: ReadMany,
    progress: Callable[[IngestProgress], None] | None,
) -> AsyncGenerator[bytes]:
    """Yield the bytes of an archive.

    Args:
        entries: files, symbolic links and empty directories, in the order of `paths.tree_order`.
        form: the format.
        read: reads one object.
        read_many: reads small objects.
        progress: called with the progress of the export.

    Raises:
        PathRefused: a package may not hold the path or the link target of an entry.
        ObjectMissing, ObjectDamaged: an object cannot be exported. The archive has no end.
        ProjectionDamaged: an object has another size than the tables say. The archive has no end.
    """
    await in_thread(partial(check_entries, entries))
    writer: _Writer = _Tar() if form == "tar" else _Zip()
    files = [entry for entry in entries if entry.kind == "file"]
    done = IngestProgress(0, len(files), 0, sum(file.size_bytes for file in files))
    for batch in _batches(entries):
        if batch[0].size_bytes > _SMALL_BYTES:
            async with aclosing(_large(batch[0], writer, read)) as chunks:
                async for chunk in chunks:
                    yield chunk
        else:
            wanted = [entry for entry in batch if entry.kind == "file"]
            contents = await read_many([file.content_address for file in wanted]) if wanted else ()
            yield await in_thread(partial(_small, batch, dict(zip(map(_path, wanted), contents, strict=True)), writer))
        count = sum(entry.kind == "file" for entry in batch)
        size_bytes = sum(entry.size_bytes for entry in batch)
        done = replace(done, files=done.files + count, bytes=done.bytes + size_bytes)
        if count and progress is not None:
            progress(done)
    yield b"".join(writer.end())


def _path(entry: FileRecord) -> str:
    return entry.path


def _batches(entries: Sequence[FileRecord]) -> Iterator[list[FileRecord]]:
    """Yield the entries in order, in batches that fit into memory. A large file is a batch by itself."""
    batch, batch_bytes = list[FileRecord](), 0
    for entry in entries:
        large = entry.size_bytes > _SMALL_BYTES
        if batch and (large or len(batch) == _BATCH_ENTRIES or batch_bytes + entry.size_bytes > _BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(entry)
        batch_bytes += entry.size_bytes
        if large:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


def _small(batch: Sequence[FileRecord], contents: dict[str, bytes | StorageError], writer: _Writer) -> bytes:
    """Return the bytes of a batch of small entries; raise the first error of an object."""
    parts: list[bytes] = []
    for entry in batch:
        content = contents[entry.path] if entry.kind == "file" else writer.body(entry)
        if isinstance(content, StorageError):
            raise content
        if entry.kind == "file":
            _check_size(entry, len(content))
        crc32 = zlib.crc32(content) if writer.needs_crc32 else 0
        parts += (writer.header(entry, len(content), crc32), content, writer.padding(len(content)))
    return b"".join(parts)


async def _large(file: FileRecord, writer: _Writer, read: Read) -> AsyncGenerator[bytes]:
    """Yield the bytes of one large file."""
    crc32 = 0
    if writer.needs_crc32:
        async with read(file.content_address) as chunks:
            async for chunk in chunks:
                crc32 = await in_thread(partial(zlib.crc32, chunk, crc32))
    yield writer.header(file, file.size_bytes, crc32)
    size_bytes = 0
    async with read(file.content_address) as chunks:
        async for chunk in chunks:
            size_bytes += len(chunk)
            yield chunk
    _check_size(file, size_bytes)
    yield writer.padding(size_bytes)


def _check_size(file: FileRecord, size_bytes: int) -> None:
    """Compare the size in the tables, which a header states, with the size of the object."""
    if size_bytes != file.size_bytes:
        raise ProjectionDamaged(f"the size of {file.path!r}", str(file.size_bytes), str(size_bytes))
