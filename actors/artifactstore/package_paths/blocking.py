"""An opened package for programs without an event loop."""

import io
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, Protocol, override

from msgspec import Struct

from artifactstore.package_paths.content import FileContent, PackageContents
from artifactstore.package_paths.lookups import Opened, TreePath, check_mode, moved_position, relative_path
from artifactstore_protocols.records import PackageRecord

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Ask", "BlockingAccess", "BlockingPackage", "BlockingPackagePath"]

_BUFFER_BYTES = 1 << 20
"""The size of the buffer of an open file. Each read of the store costs a switch of threads."""


class Ask(Protocol):
    """Runs a coroutine function where the store runs, and waits for its result."""

    def __call__[T](self, work: Callable[[], Awaitable[T]]) -> T:
        """Run it."""
        ...


class BlockingAccess(Struct, frozen=True):
    """Access to the bytes of a package.

    Attributes:
        contents: the contents of the package.
        ask: runs a coroutine function where the store runs, and waits for its result.
        tell: runs a function where the store runs; does nothing if the store is closed or belongs to another process.
    """

    contents: PackageContents
    ask: Ask
    tell: Callable[[Callable[[], None]], None]


class BlockingPackage:
    """A package that `open_package` opened: always the same one, with the entries that it had then.

    Any thread may use it.

    Attributes:
        package_id: its id.
        name: its name.
        record: its record.
    """

    def __init__(self, opened: Opened[BlockingAccess]) -> None:
        self._opened = opened
        self.record: PackageRecord = opened.record
        self.package_id = opened.record.package_id
        self.name = opened.record.name

    def path(self, path: str = "") -> "BlockingPackagePath":
        """Return a path in the package, which need not exist; by default the root.

        Raises:
            PathRefused: the path is absolute.
        """
        return BlockingPackagePath(self._opened, relative_path(path))


class BlockingPackagePath(TreePath[BlockingAccess]):
    """A path in an opened package. `TreePath` has what reads no bytes."""

    __slots__ = ()

    def read_bytes(self) -> bytes:
        """Return the bytes of a file, after they were compared with its digest. A link to a file is followed.

        Raises:
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
            NotAFile: the path leads to a directory.
            ObjectMissing, ObjectDamaged: the object is missing or damaged.
        """
        file, access = self._file(), self._opened.access
        return access.ask(lambda: access.contents.read(file))

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the text of a file. Line ends stay as they are.

        Raises:
            Exception: the errors of `read_bytes`.
            UnicodeDecodeError: the bytes are not text in this encoding.
        """
        return self.read_bytes().decode(encoding, errors)

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """Open a file for reading, with a buffer. One thread at a time reads it, and any part of it can be read.

        Every byte of a file of up to 8 MiB is compared with its digest; the file stays in memory until it is closed. A
        larger file is compared when it is read from its beginning to its end without a jump. Other ranges are not
        compared.

        Raises:
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
            NotAFile: the path leads to a directory.
            InvalidValue: the mode is not `rb`.
        """
        check_mode(mode)
        file = self._file()
        raw = _RawFile(self._opened.access.contents.open(file), file.size_bytes, self._opened.access, str(self))
        return io.BufferedReader(raw, _BUFFER_BYTES)


class _RawFile(io.RawIOBase):
    """A file of a package, without a buffer."""

    def __init__(self, content: FileContent, size_bytes: int, access: BlockingAccess, name: str) -> None:
        super().__init__()
        self.name = name
        self._content = content
        self._size_bytes = size_bytes
        self._access = access
        self._position = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        content = self._read(len(view))
        view[: len(content)] = content
        return len(content)

    @override
    def readall(self) -> bytes:
        return self._read(self._size_bytes)

    def _read(self, size: int) -> bytes:
        position = self._position
        content = self._access.ask(lambda: self._content.read_at(position, size))
        self._position = position + len(content)
        return content

    @override
    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = moved_position(self._position, self._size_bytes, offset, whence)
        return self._position

    @override
    def tell(self) -> int:
        return self._position

    @override
    def close(self) -> None:
        if not self.closed:
            # The garbage collector may run this anywhere, so it does not wait for the store's thread.
            self._access.tell(self._content.close)
        super().close()
