"""An opened package for programs with an event loop. trio and asyncio use the same classes.

Questions about the tree need no `await`; only reading does.
"""

from contextlib import suppress
from typing import Literal, Self

from msgspec import Struct

from artifactstore.package_paths.content import KEPT_BYTES_MAX, FileContent, PackageContents, Run
from artifactstore.package_paths.lookups import Opened, TreePath, check_mode, moved_position, relative_path
from artifactstore.refusals import StoreClosed
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.records import PackageRecord

__all__ = ["AsyncAccess", "Package", "PackageFile", "PackagePath"]


class AsyncAccess(Struct, frozen=True):
    """Access to the bytes of a package: its contents, and how the caller reaches them."""

    contents: PackageContents
    run: Run


class Package:
    """A package that `open_package` opened: always the same one, with the entries that it had then.

    Attributes:
        package_id: its id.
        name: its name.
        record: its record.
    """

    def __init__(self, opened: Opened[AsyncAccess]) -> None:
        self._opened = opened
        self.record: PackageRecord = opened.record
        self.package_id = opened.record.package_id
        self.name = opened.record.name

    def path(self, path: str = "") -> "PackagePath":
        """Return a path in the package, which need not exist; by default the root.

        Raises:
            PathRefused: the path is absolute.
        """
        return PackagePath(self._opened, relative_path(path))

    def reached_by(self, run: Run) -> "Package":
        """Return the same package for callers that reach the store in another way."""
        opened = self._opened
        return Package(Opened(opened.record, opened.tree, AsyncAccess(opened.access.contents, run)))

    @property
    def opened(self) -> Opened[AsyncAccess]:
        """What the package consists of."""
        return self._opened


class PackagePath(TreePath[AsyncAccess]):
    """A path in an opened package. `TreePath` has what needs no `await`."""

    __slots__ = ()

    async def read_bytes(self) -> bytes:
        """Return the bytes of a file, after they were compared with its digest. A link to a file is followed.

        Raises:
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
            NotAFile: the path leads to a directory.
            ObjectMissing, ObjectDamaged: the object is missing or damaged.
        """
        file, access = self._file(), self._opened.access
        return await access.run(lambda: access.contents.read(file))

    async def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the text of a file. Line ends stay as they are.

        Raises:
            Exception: the errors of `read_bytes`.
            UnicodeDecodeError: the bytes are not text in this encoding.
        """
        return (await self.read_bytes()).decode(encoding, errors)

    def open(self, mode: Literal["rb"] = "rb") -> "PackageFile":
        """Return an open file, for `async with`. `PackageFile` says which reads are checked.

        Raises:
            FileNotInPackage: the path leads to nothing.
            LinkLeadsNowhere: a link on the way leads to nothing, or into a loop.
            NotAFile: the path leads to a directory.
            InvalidValue: the mode is not `rb`.
        """
        check_mode(mode)
        file = self._file()
        return PackageFile(self._opened.access.contents.open(file), file.size_bytes, self._opened.access.run)


class PackageFile:
    """An open file of a package. It is read at a position that `seek` moves, or iterated over in large pieces.

    Every byte of a file of up to 8 MiB is compared with its digest; the file stays in memory until it is closed. A
    larger file is compared when it is read from its beginning to its end without a jump. Other ranges are not compared.

    Attributes:
        size_bytes: the length of the file.
    """

    def __init__(self, content: FileContent, size_bytes: int, run: Run) -> None:
        self.size_bytes = size_bytes
        self._content = content
        self._run = run
        self._position = 0
        self._closed = False

    async def read(self, size: int = -1) -> bytes:
        """Return the next bytes: `size` of them, or all if it is negative. Only at the end are there fewer.

        Raises:
            ObjectMissing, ObjectDamaged: the object is missing or damaged.
            InvalidValue: the file is closed.
        """
        if self._closed:
            raise InvalidValue("read", "a file that is closed", "open it again")
        position, wanted = self._position, self.size_bytes if size < 0 else size
        content = await self._run(lambda: self._content.read_at(position, wanted))
        self._position = position + len(content)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move the position as `io.IOBase.seek` does, and return it.

        Raises:
            InvalidValue: the position would be before the beginning, or `whence` is unknown.
        """
        self._position = moved_position(self._position, self.size_bytes, offset, whence)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    async def aclose(self) -> None:
        """Close the file. Does nothing if it is closed already, or the store is."""
        if self._closed:
            return
        self._closed = True

        async def close() -> None:
            self._content.close()

        with suppress(StoreClosed):  # closing the store has closed the stream
            await self._run(close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if piece := await self.read(KEPT_BYTES_MAX):
            return piece
        raise StopAsyncIteration
