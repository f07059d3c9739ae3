"""The directory that a package is exported to, and the only code that creates names in it.

Each name is created relative to an open directory, one part of the path at a time, without following links. So a link
that somebody creates during an export has no effect. A file is written under a temporary name, and then renamed to its
real name by a call that fails if the name exists. If the target lacks this call, the file gets a hard link. If the
target lacks hard links too, an empty file reserves the name and is replaced. So under its real name, a file is
complete, missing, or, after a crash, empty. If the target does not distinguish two names, the second one is rejected.
An update replaces a file or a link by one rename.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from artifactstore.ids import new_id
from artifactstore.package_export import renaming
from artifactstore.package_export.marker import OWN_DIRECTORY, ExportMarker
from artifactstore.package_export.names import Parts, link_at
from artifactstore.package_export.new_file import NEW_FILE_FLAGS, NewFile
from artifactstore.package_export.open_directories import OpenDirectories
from artifactstore.package_export.refused_entries import FileRefused, refused_or
from artifactstore.refusals import TargetRefused
from artifactstore.target_limits import TargetLimits

__all__ = ["ExportTarget"]

type _Way = Callable[[bytes, bytes, int, int], bool]

_EXECUTABLE: Final = 0o111
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP})
"""Error numbers of a target that does not support symbolic links."""


class ExportTarget:
    """The target directory of one export, for one thread at a time. Create it with `open`, and close it.

    Attributes:
        used: whether the target held something that must be compared with the package.
        directories: its open directories.
        marker: its marker of an unfinished export.
        limits: the limits of its file system that the export met.
        wrong_executable_bits: number of files whose executable bit differs from that in the package.
    """

    def __init__(self, name: str, root: int) -> None:
        self._name = name
        self._root = root
        self._ways: tuple[_Way, ...] = (_renamed, _linked)
        self._new_name = new_id().encode()
        self.used = False
        self.limits = TargetLimits()
        self.wrong_executable_bits = 0
        self.directories = OpenDirectories(root)
        self.marker = ExportMarker(root, self.refused, self.limits)

    @classmethod
    def open(cls, directory: Path, package_id: str, *, update: bool = False) -> Self:
        """Open and lock a new or empty directory, or one that holds an unfinished export of the same package.

        Args:
            directory: the directory. It is created if needed.
            package_id: id of the package.
            update: whether the directory may hold anything.

        Raises:
            TargetRefused: the directory holds something else, another export uses it, or it cannot be written.
        """
        try:
            with suppress(FileExistsError):  # a file has the name; opening it as a directory gives the better error
                directory.mkdir(parents=True, exist_ok=True)
            target = cls(str(directory), os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            try:
                target.used = target.marker.claim(package_id.encode(), update=update)
            except BaseException:
                target.close()
                raise
        except OSError as error:
            raise TargetRefused(str(directory), error.strerror or str(error)) from error
        return target

    def refused(self, reason: str) -> TargetRefused:
        """Return an error about this target."""
        return TargetRefused(self._name, reason)

    def new_file(self, *, executable: bool) -> NewFile:
        """Create a file under a temporary name.

        Raises:
            OSError: the target accepts no new file.
        """
        mode = 0o777 if executable else 0o666  # minus the umask
        try:
            return NewFile(self.marker.directory, self._new_name, mode)
        except FileExistsError:  # the previous file could not be removed
            self._new_name = new_id().encode()
            return NewFile(self.marker.directory, self._new_name, mode)

    def place(self, file: NewFile, parts: Parts, *, executable: bool, replace: bool = False) -> None:
        """Give a finished file its real name.

        Args:
            file: the file.
            parts: its real name.
            executable: whether it is executable.
            replace: whether it replaces a file or a link of this name.

        Raises:
            FileRefused: the target rejects this file.
            OSError: the target rejects all files.
        """
        self._check_own(parts)
        self.set_executable(file.fd, executable=executable)
        file.finish()
        try:
            at = self.directories.at(parts[:-1])
            if replace:
                os.replace(file.name, parts[-1], src_dir_fd=self.marker.directory, dst_dir_fd=at)
                file.named = True
            else:
                self._give_name(file, at, parts[-1])
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
            self.directories.at(parts)
        except OSError as error:
            raise refused_or(error) from error

    def place_link(self, parts: Parts, link_target: bytes, *, replace: bool = False) -> bool:
        """Create a symbolic link, unless an equal one exists. Create links last: then nothing is written through one.

        Args:
            parts: its name.
            link_target: its target.
            replace: whether it replaces a file or another link of this name.

        Returns:
            Whether the link was created; False if an equal one exists.

        Raises:
            FileRefused: the target rejects this link, or does not support links.
            OSError: the target accepts no new names.
        """
        self._check_own(parts)
        try:
            at = self.directories.at(parts[:-1])
            try:
                os.symlink(link_target, parts[-1], dir_fd=at)
            except FileExistsError:
                if link_at(at, parts[-1]) == link_target:
                    return False
                if not replace:
                    raise
                self._replace_by_link(at, parts[-1], link_target)
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise FileRefused("the target takes no symbolic links") from error
            raise refused_or(error) from error
        return True

    def _replace_by_link(self, at: int, name: bytes, link_target: bytes) -> None:
        made, marker = new_id().encode(), self.marker.directory
        os.symlink(link_target, made, dir_fd=marker)
        try:
            os.replace(made, name, src_dir_fd=marker, dst_dir_fd=at)
        except BaseException:
            os.unlink(made, dir_fd=marker)
            raise

    def _check_own(self, parts: Parts) -> None:
        """Raise for an entry whose path collides with the export's own directory."""
        if parts[0] == OWN_DIRECTORY:
            raise FileRefused(f"{OWN_DIRECTORY.decode()!r} is the export's own while it runs; get the file by `get`")

    def _give_name(self, file: NewFile, at: int, name: bytes) -> None:
        """Give a file its name, without replacing another file, by the first method that the target supports."""
        for index, way in enumerate(self._ways):
            try:
                file.named = way(file.name, name, self.marker.directory, at)
            except FileExistsError:
                raise
            except OSError:  # the open below shows whether the target rejects the method or the name
                continue
            self._ways = self._ways[index:]
            return
        os.close(os.open(name, NEW_FILE_FLAGS, 0o600, dir_fd=at))
        try:
            os.replace(file.name, name, src_dir_fd=self.marker.directory, dst_dir_fd=at)
        except BaseException:
            os.unlink(name, dir_fd=at)
            raise
        file.named = True
        self._ways = ()

    def set_executable(self, fd: int, *, executable: bool, exact: bool = False) -> bool:
        """Make a file executable for its readers if `executable`; note a target that does not keep the bit.

        Args:
            fd: the file.
            executable: whether its owner may execute it.
            exact: whether to take the bit from a file that has it and should not.

        Returns:
            Whether the file's bit was changed.
        """
        mode = before = os.fstat(fd).st_mode
        if executable != bool(mode & stat.S_IXUSR) and (executable or exact):
            wanted = mode | (mode & 0o444) >> 2 if executable else mode & ~_EXECUTABLE
            try:
                os.fchmod(fd, stat.S_IMODE(wanted))
            except OSError as error:
                if not self.limits.excuse("modes", error):
                    raise
            mode = os.fstat(fd).st_mode  # some targets report success and do nothing
        if executable != bool(mode & stat.S_IXUSR):
            self.limits.note("modes")
            self.wrong_executable_bits += 1
        return mode != before

    def finish(self) -> None:
        """Remove the marker of an unfinished export.

        Raises:
            OSError: the marker cannot be removed.
        """
        self.marker.remove()

    def close(self) -> None:
        """Close all descriptors. Call this once."""
        self.directories.close()
        self.marker.close()
        os.close(self._root)


def _renamed(old: bytes, new: bytes, marker: int, at: int) -> bool:
    """Rename the file to its real name. Return whether the temporary name is gone."""
    renaming.rename_new(old, new, src_dir_fd=marker, dst_dir_fd=at)
    return True


def _linked(old: bytes, new: bytes, marker: int, at: int) -> bool:
    """Link the file under its real name. Return whether the temporary name is gone."""
    os.link(old, new, src_dir_fd=marker, dst_dir_fd=at, follow_symlinks=False)
    return False  # the file has both names
