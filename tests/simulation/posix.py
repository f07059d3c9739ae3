"""The system calls of the local storage backend, on a simulated disk.

The backend itself is the real one. While `installed` is in force, the modules of `artifactstore.backends` find this
class where they expect `os` and `fcntl`; a path below `/simulated` and a descriptor from there go to the disk of the
world, all others to the operating system. A path names the life that uses it, `/simulated/<life>/objects/…`, so that a
process that was killed can be kept from changing anything any more.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Buffer, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from io import BufferedWriter, RawIOBase
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Concatenate, Final, cast, override

from artifactstore import durable
from artifactstore.backends import (
    durability,
    local,
    local_batch,
    local_files,
    local_health,
    local_reader,
    local_tidying,
    local_writer,
    root_marker,
    scratch,
)
from artifactstore.backends.durability import BatchSync
from artifactstore.dataplane import ingest, reading, stream
from artifactstore.target_limits import TargetLimits
from simulation.disk import Inode, SimulatedDisk
from simulation.faults import ChangeFailure, ChangeFault, FaultKind, PreadFault, StepFailure
from simulation.world import Life, World

__all__ = ["OBJECTS", "SCRATCH", "SimulatedPath", "SimulatedPosix"]

OBJECTS: Final = "objects"
"""The directory of the disk that backends keep their objects in."""

SCRATCH: Final = "tmp"
"""The directory therein that they write temp files to."""

_MOUNT: Final = "/simulated/"
_FIRST_FD: Final = 1 << 24
_CHUNK_BYTES: Final = 1024
_DIRECTORIES: Final = ("dir_fd", "src_dir_fd", "dst_dir_fd")
_MODULES: Final[tuple[ModuleType, ...]] = (
    durability, durable, local, local_batch, local_files, local_health, local_reader, local_tidying, local_writer,
    root_marker, scratch,
)  # fmt: skip


class SimulatedPath(Path):
    """The root of a simulated backend: the few questions that the backend asks of a `Path`."""

    @override
    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Yes: the world made it."""
        return True


def mount(life: Life) -> SimulatedPath:
    """Where a life finds the objects' directory."""
    return SimulatedPath(f"{_MOUNT}{life.number}/{OBJECTS}")


def _stands_in[**P, R](
    call: Callable[Concatenate["SimulatedPosix", P], R],
) -> Callable[Concatenate["SimulatedPosix", P], R]:
    """A call that is the real one's for every path and descriptor that is not simulated."""
    real: Callable[..., R] = getattr(os if hasattr(os, call.__name__) else fcntl, call.__name__)

    @wraps(call)
    def dispatch(posix: "SimulatedPosix", /, *args: P.args, **kwargs: P.kwargs) -> R:
        subject, *rest = cast("tuple[object, ...]", args)
        if isinstance(subject, os.PathLike):
            subject = os.fspath(cast("os.PathLike[str]", subject))
        at = [cast("int", kwargs.pop(name)) for name in _DIRECTORIES if posix.has(kwargs.get(name))]
        below = [f"{posix.path_of(fd)}/{name}" for fd, name in zip(at, (subject, *rest), strict=False)]
        arguments = [*below, *[subject, *rest][len(below) :]]  # names below open directories are paths then
        simulated = isinstance(subject, int) and subject >= _FIRST_FD
        simulated |= isinstance(arguments[0], str) and arguments[0].startswith(_MOUNT)
        return cast("Callable[..., R]", call if simulated else real)(*[posix] * simulated, *arguments, **kwargs)

    return dispatch


@dataclass(slots=True)
class _Open:
    life: Life
    inode: Inode
    path: str


class _Stream(RawIOBase):
    """What `os.fdopen` returns for writing."""

    def __init__(self, posix: "SimulatedPosix", fd: int) -> None:
        super().__init__()
        self._posix, self._fd = posix, fd

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Buffer, /) -> int:
        return self._posix.write(self._fd, memoryview(data))

    @override
    def fileno(self) -> int:
        return self._fd

    @override
    def close(self) -> None:
        if not self.closed:
            self._posix.close(self._fd)
        super().close()


class SimulatedPosix:
    """Stands in for the modules `os` and `fcntl`.

    Attributes:
        disk: what it works on.
        harmed_once: keys of objects that a fault has ever spoilt or removed.
        on_unlink: called with the path of each file that was unlinked, below the root.
    """

    def __init__(self, world: World) -> None:
        self.disk = SimulatedDisk()
        self.harmed_once: set[str] = set()
        self.on_unlink: Callable[[str], None] = lambda _: None
        self._world = world
        self._lives: dict[int, Life] = {}
        self._open: dict[int, _Open] = {}
        self._next_fd = _FIRST_FD
        self._shares_syncs = world.random.random() < 0.5
        self.disk.root.entries[OBJECTS] = self.disk.make(is_directory=True, mode=0o755)
        self.disk.root.sync()

    def __getattr__(self, name: str) -> object:
        found: object = getattr(os if hasattr(os, name) else fcntl, name)
        return found

    @contextmanager
    def installed(self) -> Generator[None]:
        """Take the place of the system calls in the backend's modules, and let it work in small pieces."""
        replaced: list[tuple[ModuleType, str, object]] = [
            *((module, name, self) for module in _MODULES for name in ("os", "fcntl") if hasattr(module, name)),
            *((module, "CHUNK_BYTES", _CHUNK_BYTES) for module in (ingest, reading, stream)),
            (local_batch, "BatchSync", self._batch_sync),
        ]
        before = [(module, name, getattr(module, name)) for module, name, _ in replaced]
        try:
            for module, name, value in replaced:
                setattr(module, name, value)
            yield
        finally:
            for module, name, value in before:
                setattr(module, name, value)

    def _batch_sync(self, root: str, limits: TargetLimits | None) -> BatchSync:
        if not root.startswith(_MOUNT):
            return BatchSync(root, limits)
        return BatchSync(root, limits, lambda _: self.syncfs if self._shares_syncs else None)

    def admit(self, life: Life) -> SimulatedPath:
        """Where a new life finds the objects' directory."""
        self._lives[life.number] = life
        return mount(life)

    def bury(self, life: Life) -> None:
        """Close what a life has open, as the kernel does when a process ends."""
        for fd in [fd for fd, opened in self._open.items() if opened.life is life]:
            self._release(fd)

    def lose_power(self) -> None:
        """Forget what was not synced."""
        lost = self.disk.lose_power(self._world.random)
        self._world.lost += lost
        self._world.trace.note("power lost, and with it", sorted(lost.items()))

    def has(self, fd: object) -> bool:
        """Whether a descriptor is one of the simulated ones."""
        return isinstance(fd, int) and fd in self._open

    def path_of(self, fd: int) -> str:
        """The path that a descriptor was opened with."""
        return self._opened(fd).path

    def open_files(self) -> int:
        """How many descriptors are open."""
        return len(self._open)

    def spoil(self, kind: FaultKind, which: int) -> bool:
        """Flip a bit of a stored object, or take one away; False if there is none."""
        stored = list(self.disk.files(f"{OBJECTS}/blake3"))
        if not stored:
            return False
        path, inode = stored[which % len(stored)]
        if kind is StepFailure.OBJECT_VANISHED:
            self.disk.remove(path)
        elif inode.data:
            at = self._world.random.randrange(len(inode.data))
            inode.data[at] ^= 1 << which % 8
            inode.synced = bytes(inode.data)
            inode.spoilt = True
        else:
            return False
        self.harmed_once.add(path.removeprefix(f"{OBJECTS}/"))
        return True

    def is_harmed(self, key: str) -> bool:
        """Whether an object is not what was stored, because of a fault."""
        return key in self.harmed_once and self._is_spoilt(key, synced=False)

    def was_harmed_durably(self, key: str) -> bool:
        """Whether a loss of power would leave an object that a fault has spoilt; it may be replaced just now."""
        return key in self.harmed_once and (self._is_spoilt(key, synced=False) or self._is_spoilt(key, synced=True))

    def _is_spoilt(self, key: str, *, synced: bool) -> bool:
        inode = self.disk.find(f"{OBJECTS}/{key}", synced=synced)
        return inode is None or inode.spoilt

    # What follows are the system calls, under the names and with the arguments of the `os` module.

    @_stands_in
    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        """See `os.open`."""
        life, directory, name, found = self._look(path)
        if flags & os.O_CREAT:
            self._change(life, "create", found or directory)
            if found is not None and flags & os.O_EXCL:
                raise _error(errno.EEXIST)
        else:
            self._ask(life, "open", found.number if found else "-")
        if found is None:
            if not flags & os.O_CREAT or directory is None:
                raise _error(errno.ENOENT)
            found = directory.entries[name] = self.disk.make(is_directory=False, mode=mode)
            found.changed_us = self._world.now_us()
        if flags & os.O_DIRECTORY and not found.is_directory:
            raise _error(errno.ENOTDIR)
        self._next_fd += 1
        self._open[self._next_fd] = _Open(life, found, path)
        return self._next_fd

    @_stands_in
    def close(self, fd: int) -> None:
        """See `os.close`."""
        if fd in self._open:
            self._release(fd)

    def _release(self, fd: int) -> None:
        opened = self._open.pop(fd)
        if opened.inode.locked_by == fd:
            opened.inode.locked_by = None

    @_stands_in
    def write(self, fd: int, data: memoryview) -> int:
        """See `os.write`; takes a part of what it is given, now and then."""
        opened = self._opened(fd)
        self._change(opened.life, "write", opened.inode)
        if (tear := self._world.tear) is not None:
            self._world.note_struck(tear)
            self._world.tear = None
            opened.inode.data += data[: len(data) // 2]
            raise _error(errno.EIO)
        taken = data if len(data) < 2 or self._world.random.random() < 0.9 else data[: len(data) // 2]
        opened.inode.data += taken
        opened.inode.changed_us = self._world.now_us()
        return len(taken)

    @_stands_in
    def fdopen(self, fd: int, mode: str) -> BinaryIO:
        """See `os.fdopen`; for writing bytes."""
        self._opened(fd)
        assert mode == "wb"
        return BufferedWriter(_Stream(self, fd))

    @_stands_in
    def read(self, fd: int, length: int) -> bytes:
        """See `os.read`; from the start, for a file that is read with one call."""
        opened = self._opened(fd)
        self._ask(opened.life, "read", opened.inode.number)
        return bytes(opened.inode.data[:length])

    @_stands_in
    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """See `os.pread`."""
        opened = self._opened(fd)
        fault = self._world.meet(PreadFault, opened.inode.number)
        if fault is not None:
            self._world.note_struck(fault)
            raise _error(errno.EIO)
        return bytes(opened.inode.data[offset : offset + length])

    @_stands_in
    def preadv(self, fd: int, buffers: list[memoryview], offset: int) -> int:
        """See `os.preadv`; for one buffer."""
        (buffer,) = buffers
        data = self.pread(fd, len(buffer), offset)
        buffer[: len(data)] = data
        return len(data)

    @_stands_in
    def fsync(self, fd: int) -> None:
        """See `os.fsync`."""
        opened = self._opened(fd)
        self._change(opened.life, "fsync", opened.inode)
        opened.inode.sync()

    def syncfs(self, fd: int) -> None:
        """See `syncfs(2)`."""
        opened = self._opened(fd)
        self._change(opened.life, "syncfs", opened.inode)
        self.disk.sync_all()

    @_stands_in
    def fstat(self, fd: int) -> os.stat_result:
        """See `os.fstat`."""
        return self._status(self._opened(fd).inode)

    @_stands_in
    def fchmod(self, fd: int, mode: int) -> None:
        """See `os.fchmod`."""
        self._opened(fd).inode.mode = mode

    @_stands_in
    def stat(self, path: str, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - there are no links
        """See `os.stat`."""
        life, _, _, found = self._look(path)
        self._ask(life, "stat", found.number if found else "-")
        if found is None:
            raise _error(errno.ENOENT)
        return self._status(found)

    @_stands_in
    def statvfs(self, path: str) -> os.statvfs_result:
        """See `os.statvfs`; there is always room, as far as this says."""
        life, _, _, _ = self._look(path)
        self._ask(life, "statvfs")
        return os.statvfs_result((4096, 4096, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 0, 255))

    @_stands_in
    def replace(self, source: str, target: str) -> None:
        """See `os.replace`."""
        life, source_directory, source_name, moved = self._look(source)
        _, directory, name, _ = self._look(target)
        self._change(life, "replace", moved)
        if moved is None or source_directory is None or directory is None:
            raise _error(errno.ENOENT)
        del source_directory.entries[source_name]
        directory.entries[name] = moved

    @_stands_in
    def rename(self, source: str, target: str) -> None:
        """See `os.rename`."""
        self.replace(source, target)

    @_stands_in
    def unlink(self, path: str) -> None:
        """See `os.unlink`."""
        life, directory, name, found = self._look(path)
        self._change(life, "unlink", found)
        if found is None or directory is None:
            raise _error(errno.ENOENT)
        del directory.entries[name]
        self.on_unlink(self._inside(path))

    @_stands_in
    def rmdir(self, path: str) -> None:
        """See `os.rmdir`."""
        life, directory, name, found = self._look(path)
        self._change(life, "rmdir", found)
        if found is None or directory is None:
            raise _error(errno.ENOENT)
        if found.entries:
            raise _error(errno.ENOTEMPTY)
        del directory.entries[name]

    @_stands_in
    def mkdir(self, path: str) -> None:
        """See `os.mkdir`."""
        life, directory, name, found = self._look(path)
        self._change(life, "mkdir", directory)
        if found is not None:
            raise _error(errno.EEXIST)
        if directory is None:
            raise _error(errno.ENOENT)
        directory.entries[name] = self.disk.make(is_directory=True, mode=0o755)

    @_stands_in
    def makedirs(self, path: str, *, exist_ok: bool) -> None:
        """See `os.makedirs`."""
        _, directory, _, found = self._look(path)
        if found is None or not exist_ok:
            if directory is None:
                self.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.mkdir(path)

    @_stands_in
    def listdir(self, path: str) -> list[str]:
        """See `os.listdir`."""
        return [entry.name for entry in self._entries(path)]

    @_stands_in
    @contextmanager
    def scandir(self, path: str) -> Generator[Iterator["_Entry"]]:
        """See `os.scandir`."""
        yield iter(self._entries(path))

    @_stands_in
    def flock(self, fd: int, operation: int) -> None:
        """See `fcntl.flock`; never waits, since nobody here holds a lock that another one waits for."""
        opened = self._opened(fd)
        if opened.inode.locked_by not in {None, fd}:
            raise _error(errno.EWOULDBLOCK)
        self._ask(opened.life, "flock", operation)
        opened.inode.locked_by = fd

    def _entries(self, path: str) -> list["_Entry"]:
        life, _, _, found = self._look(path)
        self._ask(life, "list", found.number if found else "-")
        if found is None:
            raise _error(errno.ENOENT)
        return [_Entry(name, inode) for name, inode in found.entries.items()]

    def _look(self, path: str) -> tuple[Life, Inode | None, str, Inode | None]:
        """Whose path it is, the directory and the name that it stands for, and what is there."""
        number = path.removeprefix(_MOUNT).partition("/")[0]
        above, _, name = self._inside(path).rstrip("/").rpartition("/")
        directory = self.disk.find(above)
        return self._lives[int(number)], directory, name, directory.entries.get(name) if directory else None

    def _inside(self, path: str) -> str:
        """The path on the disk, without the life that uses it."""
        return path.removeprefix(_MOUNT).partition("/")[2]

    def _opened(self, fd: int) -> _Open:
        opened = self._open.get(fd)
        if opened is None:
            raise _error(errno.EBADF)
        return opened

    def _ask(self, life: Life, *what: object) -> None:
        self._world.step(*what)
        _check_alive(life)

    def _change(self, life: Life, call: str, inode: Inode | None) -> None:
        _check_alive(life)
        fault = self._world.meet(ChangeFault, call, inode.number if inode else "-")
        _check_alive(life)
        if fault is not None and fault.kind is ChangeFailure.WRITE_TORN:
            self._world.tear = fault
        elif fault is not None:
            self._world.note_struck(fault)
            if fault.kind is ChangeFailure.DISK_FAILED:
                raise _error(errno.EIO)
        if call not in {"unlink", "rmdir"} and not self._world.has_room(ChangeFailure.DISK_FULL, fault):
            raise _error(errno.ENOSPC)

    def _status(self, inode: Inode) -> os.stat_result:
        kind = stat.S_IFDIR if inode.is_directory else stat.S_IFREG
        times = {"st_mtime": inode.changed_us / 1e6}
        return os.stat_result((kind | inode.mode, inode.number, 1, 1, 0, 0, len(inode.data), 0, 0, 0), times)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What `scandir` yields."""

    name: str
    inode: Inode

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        """See `os.DirEntry.is_dir`; there are no links."""
        return self.inode.is_directory and not follow_symlinks


def _check_alive(life: Life) -> None:
    if not life.alive:
        raise _error(errno.EIO)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
