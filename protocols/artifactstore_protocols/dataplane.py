"""The data plane: the one way between actors and stored bytes.

It hashes while it stores, checks while it reads, and chooses a backend by the size of what it stores. What it reads,
a row names: content address, size, backend and key; nothing computes a key from an address to read. The interface is
asynchronous and free of any event loop; an implementation decides where the work runs, and keeps every byte off the
event loop's thread. What it acknowledges is durable. It writes no event and knows no package.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Protocol, override

from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.identity import ContentAddress, ContentDigests
from artifactstore_protocols.storage import BackendHealth, KnownObject, Place, StorageError, StorageReceipt

__all__ = [
    "NOWHERE",
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
"""Places of no object."""

type VerifyStatus = Literal["ok", "damaged", "missing"]


class SourceError(ArtifactStoreError):
    """Base of what is wrong with the bytes that somebody wants to ingest; nothing of them was stored."""


@dataclass(eq=False)
class SourceRefused(SourceError):
    """A path that is not an ordinary file inside its root: it is never opened, or not read.

    Attributes:
        path: the path as it was given.
        reason: what it is instead.
    """

    path: str
    reason: str
    template = "{self.path!r} is refused: {self.reason}; only ordinary files can be ingested"


@dataclass(eq=False)
class SourceUnreadable(SourceError):
    """A file that could not be opened or read.

    Attributes:
        path: the path as it was given.
        cause: name of the operating system's error, such as `ENOENT`.
    """

    path: str
    cause: str
    template = "{self.path!r} cannot be read ({self.cause}); check that it exists and may be read"


@dataclass(eq=False)
class SourceChanged(SourceError):
    """A file that changed between looking at it and having read it: its size, its kind or one of its times.

    Attributes:
        path: the path as it was given.
        reason: what changed.
    """

    path: str
    reason: str
    template = "{self.path!r} changed while it was read: {self.reason}; ingest it when nobody writes to it"


@dataclass(eq=False)
class SourceDiffers(SourceError):
    """A file whose content is not the one that was expected of it.

    Attributes:
        path: the path as it was given.
        expected: address of the content that should be there.
    """

    path: str
    expected: ContentAddress
    template = "{self.path!r} does not hold {self.expected}; take another copy of it"


@dataclass(eq=False)
class SourceTruncated(SourceError):
    """A stream that ended before its declared size.

    Attributes:
        expected_bytes: the size that was declared.
        received_bytes: what came.
    """

    expected_bytes: int
    received_bytes: int
    template = "the stream ended after {self.received_bytes} of {self.expected_bytes} bytes; send it again"


@dataclass(eq=False)
class SourceOverrun(SourceError):
    """A stream that continued beyond its declared size.

    Attributes:
        expected_bytes: the size that was declared.
        received_bytes: what had come when it was cut off.
    """

    expected_bytes: int
    received_bytes: int
    template = "the stream exceeds its declared {self.expected_bytes} bytes; declare its true size or none"


@dataclass(eq=False)
class RangeRefused(ArtifactStoreError):
    """A range that does not lie within the object.

    Attributes:
        offset: first byte asked for.
        length: bytes asked for; None is up to the end.
        size_bytes: length of the object.
    """

    offset: int
    length: int | None
    size_bytes: int

    @override
    def __str__(self) -> str:
        wanted = "the rest" if self.length is None else f"{self.length} bytes"
        return f"cannot serve {wanted} from offset {self.offset}: the object has {self.size_bytes} bytes"


class FileSource(Struct, frozen=True):
    """A local file to ingest.

    No symbolic link is followed: below `root` none in any part of the path, without a root none as the last
    part. Who wants a link's target names the target, so that a link that is swapped meanwhile cannot lead out
    of the tree.

    Attributes:
        path: below `root` if there is one, with `/` between its parts; otherwise any path of this machine. Both are
            UTF-8 text whatever the locale; a byte that is not UTF-8 is a lone surrogate (PEP 383).
        root: directory that the file must lie in; None for a file that the user named directly.
        expected: what it must hold to be stored; None takes whatever it holds.
        content: its bytes, where they were read already, as those of a backup's small objects are.
    """

    path: str
    root: str | None = None
    expected: ContentDigests | None = None
    content: bytes | None = None

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
        InvalidValue: it is empty, or holds a NUL or surrogates that no file name has.
    """
    if not path or "\0" in path:
        raise InvalidValue(what, path[:80], "a path has at least one character, and no NUL")
    try:
        path.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise InvalidValue(what, ascii(path)[:80], "no file name has these surrogates") from None


class IngestResult(Struct, frozen=True):
    """What became of one ingested content.

    Attributes:
        digests: of the bytes as they were read.
        size_bytes: how many there were.
        receipt: where they are, durably.
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
    """What a stored object turned out to be when all of it was read.

    Attributes:
        address: what it should be.
        status: `ok`, `damaged` (other bytes, or unreadable ones) or `missing`.
        digests: what was measured; None for `missing` and for an object that could not be read to its end.
        size_bytes: bytes that were read; None likewise.
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
    """Bytes in, bytes out.

    A content is stored under its first key, or where `places` says: its earlier keys may be known to be flawed, or
    retired. Where other bytes are found, it is stored under the next key; the receipt says which.

    Besides the errors named, every operation raises the `StorageError`s of `storage`.
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
            reader: the bytes, in chunks of any size; whoever made it closes it.
            expected_size: bytes that must come; None if that is not known.
            places: see the class.

        Raises:
            SourceTruncated, SourceOverrun: it ended short of, or went beyond, `expected_size`.
        """
        ...

    async def ingest_files(
        self, batch: Sequence[FileSource], *, places: Mapping[ContentAddress, Place] = NOWHERE
    ) -> Sequence[IngestResult | ArtifactStoreError]:
        """Hash and store local files; one call per batch.

        Each file has its own answer, in the order of the batch: what went wrong with one (a `SourceError` or
        a `StorageError`) is returned in its place and does not fail the others.
        """
        ...

    async def ingest_contents(self, contents: Sequence[bytes]) -> Sequence[IngestResult | ArtifactStoreError]:
        """Hash and store contents that are in memory; one call per batch, answers as for `ingest_files`."""
        ...

    def serve_object(
        self, known: KnownObject, *, offset: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open an object and iterate over its bytes, or a range of them, in large chunks.

        When the whole object is asked for it is checked against its address, before the last chunk is handed
        out; so nobody receives all the bytes of a damaged object.

        Args:
            known: which object.
            offset: first byte, at most the object's size.
            length: bytes to serve; None is up to the end.

        Raises:
            ObjectMissing: on entry, no such object. RangeRefused: on entry, the range does not lie within the
            object. ObjectDamaged: the bytes are wrong or cannot be read; while iterating, or on entry if
            there are none.
        """
        ...

    async def read_objects(self, known: Sequence[KnownObject]) -> Sequence[bytes | StorageError]:
        """Read many small objects at once, each checked against its address; answers come in their order.

        The caller bounds their number and their bytes.
        """
        ...

    async def verify_objects(self, known: Sequence[KnownObject]) -> Sequence[VerifyResult]:
        """Read all of some objects and say whether each is what its address says; a damaged one raises nothing."""
        ...

    async def stat_objects(self, known: Sequence[KnownObject]) -> Sequence[int | None]:
        """Return the size of each object in bytes, without reading it; None where there is none."""
        ...

    async def delete_object(self, known: KnownObject) -> bool:
        """Remove an object durably; False if there was none."""
        ...

    async def health(self) -> Sequence[BackendHealth]:
        """Measure every backend that objects are stored in, in the order of their ids.

        Can be cancelled while a device hangs.
        """
        ...
