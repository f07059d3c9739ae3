"""A file system that lacks something, for tests: it stands between the code and the system calls below one directory.

It recognizes only calls that name their directory by a descriptor, or act on a descriptor. All other calls of the
process are unchanged.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifactstore.package_export import renaming

__all__ = ["OddMount"]

type Call = Callable[..., Any]


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class OddMount:
    """The file system below a directory.

    Attributes:
        failing: by name of a system call, the number of the error that it always fails with.
        same: what two names have in common that it does not distinguish.
        kept: what it makes of a new name.
        refusal: the error that it refuses a name with, or None.
        modes: whether it keeps the permissions that a file is made with.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = str(root)
        self.failing: dict[str, int] = {}
        self.same: Callable[[bytes], bytes] = bytes
        self.kept: Callable[[bytes], bytes] = bytes
        self.modes = True
        self.refusal: Callable[[bytes], int | None] = lambda _name: None
        for module, name in ((os, "fchmod"), (os, "fsync"), (fcntl, "flock")):
            monkeypatch.setattr(module, name, self._on_descriptor(name, getattr(module, name)))
        for name in ("open", "mkdir", "unlink", "stat"):
            monkeypatch.setattr(os, name, self._on_name(name, getattr(os, name)))
        for module, name in ((os, "link"), (os, "replace"), (renaming, "rename_new")):
            monkeypatch.setattr(module, name, self._on_two_names(name, getattr(module, name)))

    def _holds(self, fd: object) -> bool:
        return isinstance(fd, int) and os.readlink(f"/proc/self/fd/{fd}").startswith(self._root)  # noqa: PTH115

    def _check(self, call: str, fd: int) -> None:
        if call in self.failing and (call != "fsync" or os.path.isdir(f"/proc/self/fd/{fd}")):  # noqa: PTH112
            raise _error(self.failing[call])

    def _name(self, fd: int, given: bytes | str) -> bytes:
        name = os.fsencode(given)
        if (number := self.refusal(name)) is not None:
            raise _error(number)
        there = (entry for entry in map(os.fsencode, os.listdir(fd)) if self.same(entry) == self.same(name))
        return next(there, self.kept(name))

    def _on_descriptor(self, call: str, real: Call) -> Call:
        def stand_in(fd: int, *arguments: object) -> object:
            if self._holds(fd):
                self._check(call, fd)
            return real(fd, *arguments)

        return stand_in

    def _on_name(self, call: str, real: Call) -> Call:
        def stand_in(name: bytes | str, *arguments: object, dir_fd: int | None = None, **options: object) -> object:
            if dir_fd is not None and self._holds(dir_fd) and name != b".":
                self._check(call, dir_fd)
                name = self._name(dir_fd, name)
                if call == "open" and not self.modes and len(arguments) == 2:
                    arguments = arguments[0], 0o600
            return real(name, *arguments, dir_fd=dir_fd, **options)

        return stand_in

    def _on_two_names(self, call: str, real: Call) -> Call:
        def stand_in(
            old: bytes | str,
            new: bytes | str,
            *,
            src_dir_fd: int | None = None,
            dst_dir_fd: int | None = None,
            **options: object,
        ) -> object:
            if dst_dir_fd is not None and self._holds(dst_dir_fd):
                self._check(call, dst_dir_fd)
                new = self._name(dst_dir_fd, new)
            return real(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **options)

        return stand_in
