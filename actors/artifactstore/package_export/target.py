"""The directory that a package is exported to, and the only code that creates names in it.

Each name is created relative to an open directory, one part of the path at a time, without following links. So a link
that somebody creates during an export has no effect. A file is written under a temporary name, and then renamed to its
real name by a call that fails if the name exists. If the target lacks this call, the file gets a hard link. If the
target lacks hard links too, an empty file reserves the name and is replaced. So under its real name, a file is
complete, missing, or, after a crash, empty. If the target does not distinguish two names, the second one is rejected.

During an export, the target holds the directory `.artifactstore-export`, with the package's id and the files that are
being written. The id lets the same export continue. The lock on the file of the id excludes a second export.
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
_LOST_AND_FOUND: Final = b"lost+found"  # in the root of an empty disk; often only the superuser may read it
_ID_BYTES_MAX: Final = 64

_OPEN_MAX: Final = 64
"""Maximum number of directories that stay open: the deepest ones on the path to the current one. Its neighbours are
opened relative to them, so that a deep tree needs neither a walk from its root for every directory nor all descriptors
of the process."""

OWN_DIRECTORY: Final = b".artifactstore-export"
"""Name of the directory in the root of a target that marks an unfinished export."""

ENTRIES_OF_OTHERS: Final = frozenset({OWN_DIRECTORY, _LOST_AND_FOUND})
"""Names that the root of a target may hold besides the package's entries."""

_TAKEN = "the target holds something under that name already; it may not distinguish names that differ only in case"
_NOT_A_DIRECTORY = "a file or a link is in the place of a directory that leads to it"

# Errors that concern one file, with the reason. Any other error concerns the target, and ends the export.
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
"""Error numbers of a target that does not support symbolic links."""


class FileRefused(Exception):
    """The target rejects one entry. The export continues with the others."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parts_of(path: str) -> Parts:
    """Return the names of a package's path as bytes: UTF-8, whatever the locale."""
    return tuple(path.encode().split(b"/"))


def listed_as(name: bytes, listing: frozenset[bytes]) -> bytes | None:
    """Return the name that a directory lists for `name`: the same, or one that is equal under NFC; None if missing."""
    if name in listing:
        return name
    wanted = _nfc(name)
    return next((each for each in listing if _nfc(each) == wanted), None)


def _nfc(name: bytes) -> str:
    return normalize("NFC", name.decode(errors="surrogateescape"))


def link_at(at: int, name: bytes) -> bytes | None:
    """Return the target of a symbolic link; None if the name is not a link."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError:
        return None


def names_in(fd: int) -> frozenset[bytes]:
    """Return the names in an open directory."""
    return frozenset(map(os.fsencode, os.listdir(fd)))


class ExportTarget:
    """The target directory of one export, for one thread at a time. Create it with `open`, and close it.

    Attributes:
        resumed: whether the target held an unfinished export of this package.
        limits: the limits of its file system that the export met.
        wrong_executable_bits: number of files whose executable bit differs from that in the package.
    """

    def __init__(self, name: str, root: int) -> None:
        self._name = name
        self._root = root
        self._marker = self._lock = -1
        self._known: _Known = {}  # directories that were created, or listed under their exact name
        self._at: Parts = ()
        self._open: list[_OpenDirectory] = []  # the path to `_at`, without the root and possibly further parents
        self._ways: tuple[_Way, ...] = (_renamed, _linked)
        self._new_name = new_id().encode()
        self.resumed = False
        self.limits = TargetLimits()
        self.wrong_executable_bits = 0

    @classmethod
    def open(cls, directory: Path, package_id: str) -> Self:
        """Open and lock a new or empty directory, or one that holds an unfinished export of the same package.

        Raises:
            TargetRefused: the directory holds something else, another export uses it, or it cannot be written.
        """
        try:
            with suppress(FileExistsError):  # a file has the name; opening it as a directory gives the better error
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
        """Lock the target, check whether it may be used, and remove leftovers of an interrupted export."""
        found = names_in(self._root) - {_LOST_AND_FOUND}
        if found and OWN_DIRECTORY not in found:
            raise self.refused("it is not empty; name a new or an empty directory")
        if not found:
            with suppress(FileExistsError):  # another export began concurrently; `_take_lock` detects that
                os.mkdir(OWN_DIRECTORY, dir_fd=self._root)
        self._open_marker()
        self._take_lock()
        held = os.pread(self._lock, _ID_BYTES_MAX, 0)
        if held not in {b"", package_id}:
            whose = f"package {held.decode(errors='replace')!r}"
            raise self.refused(f"it holds an unfinished export of {whose}; name a new or an empty directory")
        # Without an id, the export died in its first or in its last step. Its files are compared by content anyway.
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
        """Open the marker of an unfinished export. Reject one that no export created: a write could damage a file."""
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
        """Raise if an export cannot have created a file in the export's own directory."""
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
        """Lock the file of the id; raise if another export holds the lock."""
        under_way = "another export into it is under way; wait for its end"
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self.refused(under_way) from None
        except OSError as error:
            if not self.limits.excuse("locks", error):
                raise
        if _PACKAGE not in names_in(self._marker):  # that export ended, and removed the file, before this one locked it
            raise self.refused(under_way)

    def _sync_lock(self) -> None:
        """Make the package id durable."""
        try:
            os.fsync(self._lock)
        except OSError as error:
            if not self.limits.excuse("file_sync", error):
                raise

    def refused(self, reason: str) -> TargetRefused:
        """Return an error about this target."""
        return TargetRefused(self._name, reason)

    def new_file(self, *, executable: bool) -> "NewFile":
        """Create a file under a temporary name.

        Raises:
            OSError: the target accepts no new file.
        """
        mode = 0o777 if executable else 0o666  # minus the umask
        try:
            return NewFile(self._marker, self._new_name, mode)
        except FileExistsError:  # the previous file could not be removed
            self._new_name = new_id().encode()
            return NewFile(self._marker, self._new_name, mode)

    def place(self, file: "NewFile", parts: Parts, *, executable: bool) -> None:
        """Give a finished file its real name.

        Raises:
            FileRefused: the target rejects this file.
            OSError: the target rejects all files.
        """
        self._check_own(parts)
        self.set_executable(file.fd, executable=executable)
        file.finish()
        try:
            self._give_name(file, self.directory(parts[:-1]), parts[-1])
        except OSError as error:
            raise refused_or(error) from error

    def place_directory(self, parts: Parts) -> None:
        """Create an empty directory, unless it exists.

        Raises:
            FileRefused: the target rejects this directory.
            OSError: the target rejects all directories.
        """
        self._check_own(parts)
        try:
            self.directory(parts)
        except OSError as error:
            raise refused_or(error) from error

    def place_link(self, parts: Parts, link_target: bytes) -> None:
        """Create a symbolic link, unless an equal one exists. Create links last: then nothing is written through one.

        Raises:
            FileRefused: the target rejects this link, or does not support links.
            OSError: the target accepts no new names.
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
        """Raise for an entry whose path collides with the export's own directory."""
        if parts[0] == OWN_DIRECTORY:
            raise FileRefused(f"{OWN_DIRECTORY.decode()!r} is the export's own while it runs; get the file by `get`")

    def _give_name(self, file: "NewFile", at: int, name: bytes) -> None:
        """Give a file its name, without replacing another file, by the first method that the target supports."""
        for index, way in enumerate(self._ways):
            try:
                file.named = way(file.name, name, self._marker, at)
            except FileExistsError:
                raise
            except OSError:  # the open below shows whether the target rejects the method or the name
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
        """Make a file executable for its readers if `executable`; note a target that does not keep the bit."""
        mode = os.fstat(fd).st_mode
        if executable and not mode & stat.S_IXUSR:
            try:
                os.fchmod(fd, stat.S_IMODE(mode) | (mode & 0o444) >> 2)
            except OSError as error:
                if not self.limits.excuse("modes", error):
                    raise
            mode = os.fstat(fd).st_mode  # some targets report success and do nothing
        if executable != bool(mode & stat.S_IXUSR):
            self.limits.note("modes")
            self.wrong_executable_bits += 1

    def directory(self, parts: Parts, *, make: bool = True) -> int:
        """Return a descriptor of a directory of the target. It is valid until the next call.

        Raises:
            FileRefused: the target does not distinguish the directory's name from another one.
            OSError: the directory cannot be created or opened, or something else has its name.
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
        """Create a directory; raise if the target lists it only under a different name."""
        try:
            os.mkdir(name, dir_fd=fd)
        except FileExistsError:
            if listed_as(name, names_in(fd)) is None:
                raise FileRefused(f"its directory {name.decode()!r}: {_TAKEN}") from None

    def is_own(self, fd: int) -> bool:
        """Return whether an open directory is the export's own, under whatever name it was opened."""
        return os.path.sameopenfile(fd, self._marker)

    def close_directories(self) -> None:
        """Close all open directories, so that the next call of `directory` looks up every name again."""
        while self._open:
            self._close_deepest()

    def _close_deepest(self) -> None:
        closed = self._open.pop()
        self._at = self._at[: closed.depth - 1]
        os.close(closed.fd)

    def finish(self) -> None:
        """Remove the marker of an unfinished export.

        Raises:
            OSError: the marker cannot be removed.
        """
        os.unlink(_PACKAGE, dir_fd=self._marker)
        try:
            os.rmdir(OWN_DIRECTORY, dir_fd=self._root)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # the same export began again concurrently, and finds all files
                raise

    def close(self) -> None:
        """Close all descriptors. Call this once."""
        self.close_directories()
        for fd in (self._lock, self._marker, self._root):
            if fd >= 0:
                os.close(fd)


class _OpenDirectory(NamedTuple):
    """An open directory of the target.

    Attributes:
        depth: number of names in its path.
        fd: its descriptor.
        known: its known subdirectories; None if its own exact name was not checked.
    """

    depth: int
    fd: int
    known: _Known | None


def _renamed(old: bytes, new: bytes, marker: int, at: int) -> bool:
    """Rename the file to its real name. Return whether the temporary name is gone."""
    renaming.rename_new(old, new, src_dir_fd=marker, dst_dir_fd=at)
    return True


def _linked(old: bytes, new: bytes, marker: int, at: int) -> bool:
    """Link the file under its real name. Return whether the temporary name is gone."""
    os.link(old, new, src_dir_fd=marker, dst_dir_fd=at, follow_symlinks=False)
    return False  # the file has both names


def _shared(one: Parts, other: Parts) -> int:
    """Return how many names two paths have in common."""
    return next(
        (depth for depth, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


class NewFile:
    """A file of the target that has no real name yet. The caller must close it.

    Attributes:
        name: its temporary name in the export's own directory.
        fd: its descriptor; -1 after `finish`.
        named: whether the real name has replaced the temporary name.
    """

    def __init__(self, directory: int, name: bytes, mode: int) -> None:
        self.name = name
        self.named = False
        self._directory = directory
        self.fd = os.open(name, _NEW_FILE, mode, dir_fd=directory)

    def write(self, content: bytes) -> None:
        """Append all bytes of `content`.

        Raises:
            FileRefused: the file is too large for the target.
            OSError: the target accepts no more bytes.
        """
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            raise (refused_or(error) if error.errno == errno.EFBIG else error) from error

    def finish(self) -> None:
        """Close the descriptor after the last write.

        Raises:
            OSError: the target reports a failed write only now, as NFS does.
        """
        fd, self.fd = self.fd, -1
        os.close(fd)

    def close(self) -> None:
        """Close the file, and remove its temporary name if it still has one."""
        if self.fd >= 0:
            with suppress(OSError):  # an error of close does not matter: the bytes are discarded
                os.close(self.fd)
        if not self.named:
            with suppress(OSError):  # the export that continues this one removes the name
                os.unlink(self.name, dir_fd=self._directory)


def refused_or(error: OSError) -> FileRefused | OSError:
    """Return a `FileRefused` for an error that concerns one file; the error itself if it concerns the target."""
    reason = _OF_ONE_FILE.get(error.errno or 0)
    return error if reason is None else FileRefused(reason)


def paths_text(paths: Sequence[str], shown: int = 3) -> str:
    """Return the first paths as text for people, and the number of the others."""
    more = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    return f"{', '.join(map(repr, paths[:shown]))}{more}"
