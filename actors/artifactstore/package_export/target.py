"""The directory that a package is exported to, and the only code that makes names in it.

Each name is made relative to an open directory, one part of the path at a time, and no link is followed: a link that
somebody plants while an export runs leads nowhere. A file is written under a name of the export's own, then renamed to
its real name by a call that fails if anything is there; where the target has no such call, it is linked. So a real name
has all of its bytes or does not exist, and a target that does not distinguish two names of a package refuses the second
one.

While an export is unfinished its target holds the directory `.artifactstore-export`, with the package's id and the
files that are being written. The id lets the same export continue; the lock on it keeps a second one out.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self
from unicodedata import normalize

from artifactstore.ids import new_id
from artifactstore.package_export import renaming
from artifactstore.refusals import TargetRefused
from artifactstore.target_limits import TargetLimits
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import check_id

__all__ = [
    "DIRECTORY_FLAGS",
    "ENTRIES_OF_OTHERS",
    "OWN_DIRECTORY",
    "ExportTarget",
    "FileRefused",
    "NewFile",
    "Parts",
    "link_at",
    "listed_as",
    "names_in",
    "parts_of",
    "paths_text",
    "refused_or",
]

type Parts = tuple[bytes, ...]
type _Known = dict[bytes, _Known]
type _Way = Callable[[bytes, bytes, int, int], bool]

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PACKAGE: Final = b"package"
_LOST_AND_FOUND: Final = b"lost+found"  # in the root of a disk that is empty; often nobody but root may read it
_ID_BYTES_MAX: Final = 64

_OPEN_MAX: Final = 64
"""Directories that are kept open: the deepest of those that lead to the one in use. Its neighbours are opened from
them, so a deep tree costs neither a descent from its root for every directory nor all descriptors of the process."""

OWN_DIRECTORY: Final = b".artifactstore-export"
"""Holds what marks an unfinished export, in the root of its target."""

ENTRIES_OF_OTHERS: Final = frozenset({OWN_DIRECTORY, _LOST_AND_FOUND})
"""What the root of a target may hold besides the package's files."""

_TAKEN = "the target holds something under that name already; it may not distinguish names that differ only in case"
_NOT_A_DIRECTORY = "a file or a link is in the place of a directory that leads to it"

# What a target says of one file that it does not take. Any other error is about the target, and ends the export.
_OF_ONE_FILE: Final = {
    errno.EEXIST: _TAKEN,
    errno.ENOTDIR: _NOT_A_DIRECTORY,
    errno.ELOOP: _NOT_A_DIRECTORY,
    errno.EISDIR: _TAKEN,
    errno.ENOENT: "a directory that leads to it is gone, or the target does not take the name",
    errno.EFBIG: "the file is too large for the target",
    **{
        number: f"the target does not take the name: {os.strerror(number)}"
        for number in (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM)
    },
}


_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP})
"""What a target says that has no symbolic links."""


class FileRefused(Exception):
    """The target does not take one file; the export continues with the others."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parts_of(path: str) -> Parts:
    """Return the names of a package's path as bytes: UTF-8, whatever the locale says."""
    return tuple(path.encode().split(b"/"))


def listed_as(name: bytes, listing: frozenset[bytes]) -> bytes | None:
    """Return the name that a directory lists for `name`: the same, or one that is equal under Unicode NFC."""
    if name in listing:
        return name
    wanted = _nfc(name)
    return next((each for each in listing if _nfc(each) == wanted), None)


def _nfc(name: bytes) -> str:
    return normalize("NFC", name.decode(errors="surrogateescape"))


def link_at(at: int, name: bytes) -> bytes | None:
    """Return what the link of a name says; None if there is none."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError:
        return None


def names_in(fd: int) -> frozenset[bytes]:
    """Return the names in an open directory."""
    return frozenset(map(os.fsencode, os.listdir(fd)))


class ExportTarget:
    """One directory, held for one export; used by one thread at a time. `open` makes it; close it in the end.

    Attributes:
        resumed: whether it holds an unfinished export of this package.
        limits: what its file system could not do.
        wrong_executable_bits: how many files are executable and should not be, or the other way round.
    """

    def __init__(self, name: str, root: int) -> None:
        self._name = name
        self._root = root
        self._marker = self._lock = -1
        self._known: _Known = {}  # directories that were made, or found under their exact name
        self._at: Parts = ()
        self._open: list[_OpenDirectory] = []  # that lead to `_at`, the root and perhaps others above them left out
        self._ways: tuple[_Way, ...] = (_renamed, _linked)
        self._new_name = new_id().encode()
        self.resumed = False
        self.limits = TargetLimits()
        self.wrong_executable_bits = 0

    @classmethod
    def open(cls, directory: Path, package_id: str) -> Self:
        """Take a new or empty directory, or one that holds an unfinished export of the same package.

        Raises:
            TargetRefused: it holds something else, another export into it runs, or it cannot be written.
        """
        try:
            with suppress(
                FileExistsError
            ):  # it says of a file in the way that it exists; opening it says what is wrong
                directory.mkdir(parents=True, exist_ok=True)
            target = cls(str(directory), os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            try:
                target._claim(package_id.encode())
            except BaseException:
                target.close()
                raise
        except OSError as error:
            raise TargetRefused(str(directory), error.strerror or str(error)) from error
        return target

    def _claim(self, package_id: bytes) -> None:
        found = names_in(self._root) - {_LOST_AND_FOUND}
        if found and OWN_DIRECTORY not in found:
            raise self.refused("it is not empty; name a new or an empty directory")
        if not found:
            with suppress(FileExistsError):  # another export began just now; its lock tells
                os.mkdir(OWN_DIRECTORY, dir_fd=self._root)
        self._open_marker()
        self._take_lock()
        held = os.pread(self._lock, _ID_BYTES_MAX, 0)
        if held not in {b"", package_id}:
            whose = f"package {held.decode(errors='replace')!r}"
            raise self.refused(f"it holds an unfinished export of {whose}; name a new or an empty directory")
        # Without an id it died in its first steps or in its last one. What is there is compared by content anyway.
        self.resumed = bool(found)
        leftovers = names_in(self._marker) - {_PACKAGE}
        for leftover in leftovers:
            self._check_leftover(leftover)
        if not held:
            os.pwrite(self._lock, package_id, 0)
            self._sync_lock()
        for leftover in leftovers:
            os.unlink(leftover, dir_fd=self._marker)

    def _open_marker(self) -> None:
        """Open what marks an unfinished export, or refuse what no export made: to write into it could harm a file."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self._marker = os.open(OWN_DIRECTORY, DIRECTORY_FLAGS, dir_fd=self._root)
            self._lock = os.open(_PACKAGE, flags, 0o666, dir_fd=self._marker)
            found = os.fstat(self._lock)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}:
                raise
            raise self._foreign_marker(b"") from error
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise self._foreign_marker(b"")

    def _check_leftover(self, name: bytes) -> None:
        try:
            check_id("name", name.decode())
        except (UnicodeDecodeError, InvalidValue):
            raise self._foreign_marker(b"/" + name) from None
        if not stat.S_ISREG(os.stat(name, dir_fd=self._marker, follow_symlinks=False).st_mode):
            raise self._foreign_marker(b"/" + name)

    def _foreign_marker(self, below: bytes) -> TargetRefused:
        name = os.fsdecode(OWN_DIRECTORY + below)
        return self.refused(f"no export made its {name!r}; remove that, or name a new or an empty directory")

    def _take_lock(self) -> None:
        under_way = "another export into it is under way; wait for its end"
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self.refused(under_way) from None
        except OSError as error:
            if not self.limits.excuse("locks", error):
                raise
        if _PACKAGE not in names_in(self._marker):  # that export ended, and removed it, before we locked it
            raise self.refused(under_way)

    def _sync_lock(self) -> None:
        """Make the id durable."""
        try:
            os.fsync(self._lock)
        except OSError as error:
            if not self.limits.excuse("file_sync", error):
                raise

    def refused(self, reason: str) -> TargetRefused:
        """Return an error about this target."""
        return TargetRefused(self._name, reason)

    def new_file(self, *, executable: bool) -> "NewFile":
        """Begin a file.

        Raises:
            OSError: the target does not take any.
        """
        mode = 0o777 if executable else 0o666  # less the umask
        try:
            return NewFile(self._marker, self._new_name, mode)
        except FileExistsError:  # the one before could not be removed
            self._new_name = new_id().encode()
            return NewFile(self._marker, self._new_name, mode)

    def place(self, file: "NewFile", parts: Parts, *, executable: bool) -> None:
        """Give a finished file its real name.

        Raises:
            FileRefused: the target does not take this one.
            OSError: the target takes none.
        """
        self._check_own(parts)
        self.set_executable(file.fd, executable=executable)
        file.seal()
        try:
            self._give_name(file, self.directory(parts[:-1]), parts[-1])
        except OSError as error:
            raise refused_or(error) from error

    def place_directory(self, parts: Parts) -> None:
        """Make an empty directory, or find it.

        Raises:
            FileRefused: the target does not take this one.
            OSError: the target takes none.
        """
        self._check_own(parts)
        try:
            self.directory(parts)
        except OSError as error:
            raise refused_or(error) from error

    def place_link(self, parts: Parts, link_target: bytes) -> None:
        """Make a symbolic link, or find one that says the same. Make the links last: nothing is written through one.

        Raises:
            FileRefused: the target does not take this one.
            OSError: the target takes none.
        """
        self._check_own(parts)
        try:
            at = self.directory(parts[:-1])
            try:
                os.symlink(link_target, parts[-1], dir_fd=at)
            except FileExistsError:
                if link_at(at, parts[-1]) != link_target:
                    raise
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise FileRefused("the target takes no symbolic links") from error
            raise refused_or(error) from error

    def _check_own(self, parts: Parts) -> None:
        if parts[0] == OWN_DIRECTORY:
            raise FileRefused(f"{OWN_DIRECTORY.decode()!r} is the export's own while it runs; get the file by `get`")

    def _give_name(self, file: "NewFile", at: int, name: bytes) -> None:
        """Give a file its name, in place of nothing else, by the first way that the target knows."""
        for index, way in enumerate(self._ways):
            try:
                file.named = way(file.name, name, self._marker, at)
            except FileExistsError:
                raise
            except OSError:  # whether it is the way or the name that the target does not take shows below
                continue
            self._ways = self._ways[index:]
            return
        os.close(os.open(name, _NEW_FILE, 0o600, dir_fd=at))
        try:
            os.replace(file.name, name, src_dir_fd=self._marker, dst_dir_fd=at)
        except BaseException:
            os.unlink(name, dir_fd=at)
            raise
        file.named = True
        self._ways = ()

    def set_executable(self, fd: int, *, executable: bool) -> None:
        """Let those who may read a file run it, if it is to be executable; note if the target does not keep that."""
        mode = os.fstat(fd).st_mode
        if executable and not mode & stat.S_IXUSR:
            try:
                os.fchmod(fd, stat.S_IMODE(mode) | (mode & 0o444) >> 2)
            except OSError as error:
                if not self.limits.excuse("modes", error):
                    raise
            mode = os.fstat(fd).st_mode  # some targets say yes and do nothing
        if executable != bool(mode & stat.S_IXUSR):
            self.limits.note("modes")
            self.wrong_executable_bits += 1

    def directory(self, parts: Parts, *, make: bool = True) -> int:
        """Return an open directory of the target, which stays open until another one is asked for.

        Raises:
            FileRefused: the target does not distinguish it from another one.
            OSError: it cannot be made, or something else is in its place.
        """
        shared = _shared(self._at, parts)
        while self._open and (self._open[-1].depth > shared or (make and self._open[-1].known is None)):
            self._close_deepest()
        depth, fd, known = self._open[-1] if self._open else (0, self._root, self._known)
        for name in parts[depth:]:
            if make and known is not None and name not in known:
                self._make(fd, name)
                known[name] = {}
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
            depth += 1
            known = None if known is None else known.get(name)
            self._open.append(_OpenDirectory(depth, fd, known))
            self._at = parts[:depth]
            if len(self._open) > _OPEN_MAX:
                os.close(self._open.pop(0).fd)
        return fd

    def _make(self, fd: int, name: bytes) -> None:
        try:
            os.mkdir(name, dir_fd=fd)
        except FileExistsError:
            if listed_as(name, names_in(fd)) is None:
                raise FileRefused(f"its directory {name.decode()!r}: {_TAKEN}") from None

    def is_own(self, fd: int) -> bool:
        """Tell whether an open directory is the export's own, under whatever name it was opened."""
        return os.path.sameopenfile(fd, self._marker)

    def look_again(self) -> None:
        """Forget which directories were found, so that the next one is looked up by its name."""
        while self._open:
            self._close_deepest()

    def _close_deepest(self) -> None:
        closed = self._open.pop()
        self._at = self._at[: closed.depth - 1]
        os.close(closed.fd)

    def finish(self) -> None:
        """Remove what marks an unfinished export.

        Raises:
            OSError: it cannot be removed.
        """
        os.unlink(_PACKAGE, dir_fd=self._marker)
        try:
            os.rmdir(OWN_DIRECTORY, dir_fd=self._root)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # the same export was begun again just now, and finds all of it
                raise

    def close(self) -> None:
        """Close all descriptors; once."""
        self.look_again()
        for fd in (self._lock, self._marker, self._root):
            if fd >= 0:
                os.close(fd)


class _OpenDirectory(NamedTuple):
    """A directory of the target that is open.

    Attributes:
        depth: how many names lead to it.
        fd: its descriptor.
        known: what is known to be in it; None if its own name was not looked at.
    """

    depth: int
    fd: int
    known: _Known | None


def _renamed(old: bytes, new: bytes, marker: int, at: int) -> bool:
    renaming.rename_new(old, new, src_dir_fd=marker, dst_dir_fd=at)
    return True


def _linked(old: bytes, new: bytes, marker: int, at: int) -> bool:
    os.link(old, new, src_dir_fd=marker, dst_dir_fd=at, follow_symlinks=False)
    return False  # it has both names


def _shared(one: Parts, other: Parts) -> int:
    """Return how many names two paths have in common."""
    return next(
        (depth for depth, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


class NewFile:
    """A file of the target that has no real name yet; close it in the end.

    Attributes:
        name: its name among the export's own.
        fd: its descriptor; -1 once it is sealed.
        named: whether it has its real name in place of that one.
    """

    def __init__(self, directory: int, name: bytes, mode: int) -> None:
        self.name = name
        self.named = False
        self._directory = directory
        self.fd = os.open(name, _NEW_FILE, mode, dir_fd=directory)

    def write(self, content: bytes) -> None:
        """Append bytes, all of them.

        Raises:
            FileRefused: the file is too large for the target.
            OSError: the target takes no more.
        """
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise (refused_or(error) if error.errno == errno.EFBIG else error) from error

    def seal(self) -> None:
        """End writing.

        Raises:
            OSError: the target tells only now that it did not take the bytes, as NFS does.
        """
        fd, self.fd = self.fd, -1
        os.close(fd)

    def close(self) -> None:
        """Close it, and remove the name that it has among the export's own, if it has one."""
        if self.fd >= 0:
            with suppress(OSError):  # what close reports of discarded bytes matters to nobody
                os.close(self.fd)
        if not self.named:
            with suppress(OSError):  # left to the export that continues this one
                os.unlink(self.name, dir_fd=self._directory)


def refused_or(error: OSError) -> FileRefused | OSError:
    """Return what an error says about one file; the error itself if it is about the whole target."""
    reason = _OF_ONE_FILE.get(error.errno or 0)
    return error if reason is None else FileRefused(reason)


def paths_text(paths: Sequence[str], shown: int = 3) -> str:
    """Return the first of some paths as text for people."""
    more = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    return f"{', '.join(map(repr, paths[:shown]))}{more}"
