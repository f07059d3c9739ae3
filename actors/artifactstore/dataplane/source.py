"""Opening and reading of local files that other processes may own, move or write to at the same time.

Only ordinary files are opened; the type is checked before and after the open. Opening never waits, as it would for a
pipe. No symbolic link is followed below a root. A change of a file during the read is detected by its size, its
modification time and its change time. The modification time can be set back, the change time cannot.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Final, Self

from artifactstore.os_paths import path_bytes, path_text
from artifactstore_protocols.dataplane import (
    FileSource,
    Piece,
    SourceChanged,
    SourceRefused,
    SourceUnreadable,
)

__all__ = ["Directories", "OpenPiece", "OpenSource", "change_of", "open_source"]

_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_KINDS: Final = {
    stat.S_IFLNK: "it is a symbolic link",
    stat.S_IFDIR: "it is a directory",
    stat.S_IFIFO: "it is a pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}


class OpenSource:
    """An open ordinary file, to be read once from its start."""

    __slots__ = ("_fd", "_found", "_path")

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._found = os.fstat(fd)
        _refuse_unless_file(path, self._found)

    @property
    def size_bytes(self) -> int:
        """The size of the file when it was opened."""
        return self._found.st_size

    def read_whole(self, check_cancelled: Callable[[], None] = lambda: None) -> bytes:
        """Return the content of the whole file.

        Calls `check_cancelled` between reads, since some file systems return only small pieces.

        Raises:
            SourceChanged: the size, modification time or change time changed during the read.
            SourceRefused: none of them changed, but the number of bytes read differs from the size.
        """
        limit = self.size_bytes + 1  # one more byte than expected, to detect growth without reading on
        data = os.read(self._fd, limit)
        while len(data) < self.size_bytes and (more := os.read(self._fd, limit - len(data))):
            check_cancelled()
            data += more
        self._check_unchanged(len(data))
        return data

    def pieces(self, buffers: Sequence[bytearray]) -> Iterator[memoryview]:
        """Yield the whole file in pieces, read into the buffers in turn.

        Raises:
            SourceChanged: the size, modification time or change time changed during the read. Raised at the end, or as
                soon as there are more bytes than the size.
            SourceRefused: as for `read_whole`.
        """
        views = cycle([memoryview(buffer) for buffer in buffers])
        received = 0
        while count := os.readv(self._fd, [view := next(views)]):
            received += count
            if received > self.size_bytes:
                break
            yield view[:count]
        self._check_unchanged(received)

    def _check_unchanged(self, received: int) -> None:
        now = os.fstat(self._fd)
        if received != self.size_bytes and change_of(now) == change_of(self._found):
            reason = (
                f"its size is given as {self.size_bytes} bytes, and another number can be read, as in /proc and /sys"
            )
            raise SourceRefused(self._path, reason)
        if received != self.size_bytes or now.st_size != self.size_bytes:
            reason = f"it had {self.size_bytes} bytes, then {max(received, now.st_size)}"
            raise SourceChanged(self._path, reason)
        if now.st_mtime_ns != self._found.st_mtime_ns:
            raise SourceChanged(self._path, "its modification time moved")
        if now.st_ctime_ns != self._found.st_ctime_ns:
            raise SourceChanged(self._path, "its change time moved")


class OpenPiece:
    """A part of an open file, to be read once. Several threads may read parts of one file at the same time."""

    __slots__ = ("_fd", "_path", "_piece")

    def __init__(self, path: str, piece: Piece, fd: int) -> None:
        self._path = path
        self._piece = piece
        self._fd = fd

    @property
    def size_bytes(self) -> int:
        """The size of the part."""
        return self._piece.size_bytes

    def read_whole(self, check_cancelled: Callable[[], None] = lambda: None) -> bytes:
        """Return the whole part.

        Raises:
            SourceChanged: the file ends before the part does, or was written.
        """
        buffer = bytearray(self.size_bytes)
        for _view in self.pieces([buffer]):
            check_cancelled()
        return bytes(buffer)

    def pieces(self, buffers: Sequence[bytearray]) -> Iterator[memoryview]:
        """Yield the whole part in pieces, read into the buffers in turn.

        Raises:
            SourceChanged: the file ends before the part does, or was written.
        """
        views = cycle([memoryview(buffer) for buffer in buffers])
        received = 0
        while received < self.size_bytes:
            view = next(views)[: self.size_bytes - received]
            filled = 0
            while filled < len(view):
                at = self._piece.offset + received + filled
                if not (count := os.preadv(self._fd, [view[filled:]], at)):
                    raise SourceChanged(self._path, "it ended too early")
                filled += count
            received += filled
            if received == self.size_bytes:
                self._check_unchanged()
            yield view
        if not self.size_bytes:
            self._check_unchanged()

    def _check_unchanged(self) -> None:
        if change_of(os.fstat(self._fd)) != self._piece.change:
            raise SourceChanged(self._path, "the file that it is in was written")


class Directories:
    """A cache of one directory descriptor: the next file of a batch is mostly in the same directory."""

    __slots__ = ("_fd", "_place")

    def __init__(self) -> None:
        self._place: tuple[str, bytes] | None = None
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._place is not None:
            self._place = None
            os.close(self._fd)

    def at(self, source: FileSource, root: str, directory: bytes) -> int:
        """Return a descriptor of a directory below a root.

        Each part of the path is opened by itself, so that no link is followed even if one appears during the call.

        Raises:
            SourceRefused: a part of the path is a symbolic link or not a directory.
        """
        if (root, directory) != self._place:
            self._leave()
            at = os.open(path_bytes(root), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for part in directory.split(b"/") if directory else ():
                    try:
                        below = os.open(part, _DIRECTORY, dir_fd=at)
                    except NotADirectoryError:
                        reason = f"{path_text(part)!r} in it is a symbolic link or no directory"
                        raise SourceRefused(source.path, reason) from None
                    os.close(at)
                    at = below
            except BaseException:
                os.close(at)
                raise
            self._place, self._fd = (root, directory), at
        return self._fd


@contextmanager
def open_source(source: FileSource, directories: Directories | None = None) -> Generator[OpenSource | OpenPiece]:
    """Open a file for the block.

    Args:
        source: the file.
        directories: keeps the file's directory open for the next file.

    Raises:
        SourceRefused: it is not an ordinary file, or its path contains a symbolic link that must not be followed.
        SourceUnreadable: the file cannot be opened, or a read in the block fails.
    """
    try:
        if source.piece is not None:
            with source.piece.file.opened() as fd:
                yield OpenPiece(source.path, source.piece, fd)
            return
        path = path_bytes(source.path)
        if source.root is None:
            fd = _open_file(source.path, path, None)
        elif directories is None:
            with Directories() as one:
                fd = _open_below(source, source.root, path, one)
        else:
            fd = _open_below(source, source.root, path, directories)
        try:
            yield OpenSource(source.path, fd)
        finally:
            os.close(fd)
    except OSError as error:
        cause = errno.errorcode.get(error.errno or 0, str(error))
        raise SourceUnreadable(source.path, cause) from error


def change_of(found: os.stat_result) -> tuple[int, int, int]:
    """Return what changes when a file is written: its size in bytes, and its times in nanoseconds."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _open_below(source: FileSource, root: str, path: bytes, directories: Directories) -> int:
    directory, _, name = path.rpartition(b"/")
    return _open_file(source.path, name, directories.at(source, root, directory))


def _open_file(path: str, name: bytes, at: int | None) -> int:
    # Check before the open, since opening a device can act on it. `OpenSource` checks again: the file may be replaced.
    _refuse_unless_file(path, os.stat(name, dir_fd=at, follow_symlinks=False))
    return os.open(name, _FILE, dir_fd=at)


def _refuse_unless_file(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SourceRefused(path, _KINDS.get(stat.S_IFMT(found.st_mode), "it is of an unknown kind"))
