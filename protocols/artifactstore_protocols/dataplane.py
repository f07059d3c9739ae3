"""The data plane: the only interface between actors and stored bytes.

It hashes contents while it stores them, checks them while it reads them, and chooses a backend by their size. To read
an object, a caller passes the content address, size, backend and key from a row; no code computes a key from an address
to read. The interface is asynchronous and depends on no event loop. An implementation decides where the work runs, and
keeps all bytes off the event loop's thread. Acknowledged data is durable. The data plane writes no events and knows no
packages.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol, override

from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.identity import ContentAddress, ContentDigests
from artifactstore_protocols.storage import (
    BackendHealth,
    Compaction,
    HeldFile,
    KnownObject,
    ListedObject,
    Place,
    StorageError,
    StorageReceipt,
)
from artifactstore_protocols.system_errors import in_words, remedy_of

__all__ = [
    "NOWHERE",
    "SERVED_CHUNK_BYTES",
    "DataPlane",
    "FileSource",
    "IngestResult",
    "RangeRefused",
    "SourceChanged",
    "SourceDiffers",
    "SourceError",
    "SourceOverrun",
    "SourceRefused",
    "SourceTruncated",
    "SourceUnreadable",
    "VerifyResult",
    "VerifyStatus",
    "check_local_path",
]

NOWHERE: Final[Mapping[ContentAddress, Place]] = MappingProxyType({})
"""An empty mapping of places."""

SERVED_CHUNK_BYTES: Final = 8 << 20
"""The length of the chunks of a served object, unless a reader asks for another."""

type VerifyStatus = Literal["ok", "damaged", "missing"]


class SourceError(ArtifactStoreError):
    """The base class of errors in a source of bytes to ingest. Nothing of the source was stored."""


class SourceRefused(SourceError):
    """The path is not an ordinary file inside its root. It was not opened, or not read.

    Attributes:
        path: the path as the caller gave it.
        reason: why the path is refused, such as what it is instead.
    """

    path: str
    reason: str
    template = "{self.path!r} is refused: {self.reason}; only ordinary files can be ingested"


class SourceUnreadable(SourceError):
    """The file could not be opened or read.

    Attributes:
        path: the path as the caller gave it.
        cause: the name of the operating system's error, such as `ENOENT`.
    """

    path: str
    cause: str

    @override
    def __str__(self) -> str:
        remedy = remedy_of(self.cause, "check that it exists and may be read")
        return f"{self.path!r} cannot be read: {in_words(self.cause)}; {remedy}"


class SourceChanged(SourceError):
    """The file changed while it was read: its size, its kind or one of its times.

    Attributes:
        path: the path as the caller gave it.
        reason: what changed.
    """

    path: str
    reason: str
    template = "{self.path!r} changed while it was read: {self.reason}; ingest it when nobody writes to it"


class SourceDiffers(SourceError):
    """The file does not hold the expected content.

    Attributes:
        path: the path as the caller gave it.
        expected: the address of the expected content.
    """

    path: str
    expected: ContentAddress
    template = "{self.path!r} does not hold {self.expected}; take another copy of it"


class SourceTruncated(SourceError):
    """The stream ended before its declared size.

    Attributes:
        expected_bytes: the declared size.
        received_bytes: how many bytes were received.
    """

    expected_bytes: int
    received_bytes: int
    template = "the stream ended after {self.received_bytes} of {self.expected_bytes} bytes; send it again"


class SourceOverrun(SourceError):
    """The stream continued beyond its declared size.

    Attributes:
        expected_bytes: the declared size.
        received_bytes: how many bytes were received before the stream was cut off.
    """

    expected_bytes: int
    received_bytes: int
    template = "the stream exceeds its declared {self.expected_bytes} bytes; declare its true size or none"


class RangeRefused(ArtifactStoreError):
    """The range does not lie within the object.

    Attributes:
        offset: the first requested byte.
        length: the number of requested bytes; None for all bytes up to the end.
        size_bytes: the length of the object.
    """

    offset: int
    length: int | None
    size_bytes: int

    @override
    def __str__(self) -> str:
        wanted = "the rest" if self.length is None else f"{self.length} bytes"
        return f"cannot serve {wanted} from offset {self.offset}: the object has {self.size_bytes} bytes"


class Piece(NamedTuple):
    """A part of a regular file.

    Attributes:
        file: the file.
        offset: where the part begins, in bytes.
        size_bytes: the size of the part.
        change: the size of the file, its modification time and its change time, both in nanoseconds. If they differ
            after a read, the file was written meanwhile.
    """

    file: HeldFile
    offset: int
    size_bytes: int
    change: tuple[int, int, int]


class FileSource(Struct, frozen=True):
    """A local file to ingest.

    No symbolic link is followed: below `root`, in any part of the path; without a root, as the last part. To ingest
    the target of a link, name the target. So a link that another process replaces cannot lead out of the tree.

    Attributes:
        path: with a `root`, a path below it, with `/` between the parts; otherwise any path of this machine. Path and
            root are UTF-8 text in any locale. A byte that is not UTF-8 is a lone surrogate (PEP 383).
        root: the directory that must contain the file; None for a file that the user named directly.
        expected: the digests that the content must have to be stored; None accepts any content.
        content: the bytes of the file if they were already read, such as those of a backup's small objects.
        piece: the part of an open file that is the content; then the path is only for errors.
    """

    path: str
    root: str | None = None
    expected: ContentDigests | None = None
    content: bytes | None = None
    piece: Piece | None = None

    def __post_init__(self) -> None:
        for path in (self.path, self.root):
            if path is not None:
                check_local_path("source path", path)
        if self.root is not None and not {"", ".", ".."}.isdisjoint(self.path.split("/")):
            reason = "below a root, name it from there, without '.' and '..'"
            raise InvalidValue("source path", self.path[:80], reason)

    @override
    def __repr__(self) -> str:
        return f"FileSource({self.path!r}, {self.root!r})"


def check_local_path(what: str, path: str) -> None:
    """Check that a path of this machine can exist.

    Raises:
        InvalidValue: the path is empty, or holds a NUL or surrogates that no file name has.
    """
    if not path or "\0" in path:
        raise InvalidValue(what, path[:80], "a path has at least one character, and no NUL")
    try:
        path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidValue(what, ascii(path)[:80], "no file name has these surrogates") from None


class IngestResult(Struct, frozen=True):
    """The result of ingesting one content.

    Attributes:
        digests: the digests of the bytes that were read.
        size_bytes: the number of bytes that were read.
        receipt: the proof that the content is durable at a place.
    """

    digests: ContentDigests
    size_bytes: int
    receipt: StorageReceipt

    def __post_init__(self) -> None:
        if (self.receipt.content_address, self.receipt.size_bytes) != (
            self.digests.content_address,
            self.size_bytes,
        ):
            raise InvalidValue("ingest result", str(self.digests.content_address), "its receipt is for other content")


class VerifyResult(Struct, frozen=True, gc=False):
    """The result of reading a whole object and comparing it with its address.

    Attributes:
        address: the address that the object should have.
        status: `ok`, `damaged` (other bytes, or unreadable ones) or `missing`.
        digests: the measured digests; None for `missing` and for an object that could not be read to its end.
        size_bytes: the number of bytes that were read; None in the same cases.
    """

    address: ContentAddress
    status: VerifyStatus
    digests: ContentDigests | None
    size_bytes: int | None

    def __post_init__(self) -> None:
        matches = self.digests is not None and self.digests.primary == self.address.digest
        measured = self.digests is not None and self.size_bytes is not None
        nothing = self.digests is None and self.size_bytes is None
        possible = {"ok": measured and matches, "damaged": nothing or (measured and not matches), "missing": nothing}
        if not possible[self.status]:
            raise InvalidValue("verify result", str(self.address), f"{self.status!r} contradicts what was measured")


class DataPlane(Protocol):
    """The interface that stores, reads, verifies and deletes objects.

    A content is stored under its first key, or at the place that `places` gives, since its earlier keys may be flawed
    or retired. If that key holds other bytes, the content is stored under the next key. The receipt names the key.

    Every operation also raises the subclasses of `StorageError`.
    """

    async def ingest_stream(
        self,
        reader: AsyncIterator[bytes],
        *,
        expected_size: int | None = None,
        places: Mapping[ContentAddress, Place] = NOWHERE,
    ) -> IngestResult:
        """Hash and store a stream in one pass.

        Args:
            reader: the bytes, in chunks of any size. The caller closes it.
            expected_size: the size that the stream must have, in bytes; None if unknown.
            places: see the class.

        Raises:
            SourceTruncated: the stream ended before `expected_size`.
            SourceOverrun: the stream continued beyond `expected_size`.
        """
        ...

    async def ingest_files(
        self, batch: Sequence[FileSource], *, places: Mapping[ContentAddress, Place] = NOWHERE
    ) -> Sequence[IngestResult | ArtifactStoreError]:
        """Hash and store local files, one call for each batch.

        Each file has its own result, in the order of the batch. The error of a file (a `SourceError` or a
        `StorageError`) is returned in its place and does not affect the others.
        """
        ...

    async def ingest_contents(self, contents: Sequence[bytes]) -> Sequence[IngestResult | ArtifactStoreError]:
        """Hash and store contents in memory, one call for each batch. The results are as for `ingest_files`."""
        ...

    def serve_object(
        self,
        known: KnownObject,
        *,
        offset: int = 0,
        length: int | None = None,
        chunk_bytes: int = SERVED_CHUNK_BYTES,
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open an object and iterate over its bytes, or a range of them, in large chunks.

        A whole object is checked against its address before its last chunk is yielded. So no caller receives all bytes
        of a damaged object.

        Args:
            known: the object.
            offset: the first byte, at most the size of the object.
            length: the number of bytes to serve; None for all bytes up to the end.
            chunk_bytes: the length of each chunk but the last. Short chunks need less memory, and more time.

        Raises:
            ObjectMissing: the object does not exist. Raised on entry.
            RangeRefused: the range does not lie within the object. Raised on entry.
            ObjectDamaged: the bytes are wrong or cannot be read. Raised during the iteration, or on entry if there are
                no bytes to yield.
        """
        ...

    async def read_objects(self, known: Sequence[KnownObject]) -> Sequence[bytes | StorageError]:
        """Read many small objects at once and check each against its address. Return results in their order.

        The error of an object is returned in its place. The caller limits the number and the total size of the objects.
        """
        ...

    async def verify_objects(self, known: Sequence[KnownObject]) -> Sequence[VerifyResult]:
        """Read some objects whole, and return whether each matches its address. A damaged object raises no error."""
        ...

    async def stat_objects(self, known: Sequence[KnownObject]) -> Sequence[int | None]:
        """Return the size of each object in bytes, without reading it; None for a missing object."""
        ...

    async def object_file(self, known: KnownObject) -> HeldFile | None:
        """Open the file of an object, without reading it; None if its backend offers no file of it.

        Raises:
            ObjectMissing: the object does not exist.
        """
        ...

    async def delete_objects(self, places: Sequence[Place]) -> Sequence[bool | StorageError]:
        """Delete objects durably. Return for each whether it existed, or why it could not be deleted.

        The caller bounds the number of objects, and has the keys retired before: see `v1.objects.retired`.
        """
        ...

    def backend_ids(self) -> Sequence[str]:
        """Return the ids of all backends, in order."""
        ...

    async def list_objects(self, backend_id: str, *, after: str, limit: int) -> Sequence[ListedObject]:
        """Return the objects of a backend; see `StorageBackend.list_keys`."""
        ...

    async def compact(self, backend_id: str) -> Compaction:
        """Give the room of deleted objects back to the device; see `StorageBackend.compact`."""
        ...

    async def health(self) -> Sequence[BackendHealth]:
        """Measure every backend that stores objects, in the order of their ids.

        The call can be cancelled while a device hangs.
        """
        ...
