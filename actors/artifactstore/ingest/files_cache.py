"""The files cache: what the files of a directory held when they were read, so that unchanged ones are not read again.

One file for each directory that is ingested, below the root of the objects. It maps what an inode says of a file (see
`scan.STAMP`) to the digest of the file's content, and remembers the idempotency keys of ingests that are unfinished. It
holds no path and no content.

It is a hint: the log and the storage have the last word on what it says, so one that is missing, damaged or another
program's costs reading and is never an error. It is locked while an ingest uses it; a second one that runs at the same
time goes without.
"""

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import batched, chain, islice
from pathlib import Path
from struct import Struct
from typing import Final, Self

import blake3

from artifactstore.ids import now_us
from artifactstore.ingest.scan import STAMP
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import check_id

__all__ = ["NO_FILES_CACHE", "FilesCache", "worth_keeping"]

_MAGIC: Final = b"artifactstore files cache 1\n"
_CHECKSUM_BYTES: Final = 32
_ENTRY: Final = Struct(f"{STAMP.size}s32s")
_SUFFIX: Final = ".files"
_FRESH: Final = ".new"

_BYTES_MAX: Final = 128 << 20
"""The largest file that is read: the entries of 1.8 million files."""

_ENTRIES_TOGETHER: Final = 4096
"""Entries that are hashed or written at a time."""

_KEYS_MAX: Final = 16
"""Unfinished ingests of one directory that are remembered: they differ in name, retention, metadata or user."""

_SAVE_EVERY: Final = 16
"""Bytes of files that are read for each byte of the cache between two saves: so saving is small beside reading, and
what a killed process loses is, too."""

_KEPT_S: Final = 30 * 24 * 3600
"""How long the cache of a directory is kept that nobody ingests."""

_SWEPT_MAX: Final = 10_000
"""How many caches are looked at in one go for those that are to be removed."""

_RACY_NS: Final = 2_000_000_000
"""The coarsest clock that a file system stamps with (FAT's): a second change within its tick leaves no mark."""


def worth_keeping(stamp: bytes, looked_at_us: int) -> bool:
    """Whether a later change of the file would show in its stamp.

    Not if it was changed about when it was looked at, or after, by the clock of the machine or by a wrong one: it may
    change once more within the same tick (git calls such an entry racy).

    Args:
        stamp: of the file.
        looked_at_us: no later than when the stamp was taken.
    """
    _device, _inode, _size, mtime_ns, ctime_ns = STAMP.unpack(stamp)
    return bool(max(mtime_ns, ctime_ns) < looked_at_us * 1000 - _RACY_NS)


class FilesCache:
    """The cache of one directory, open and locked, or none: then it is empty and nothing is kept.

    All methods but `get`, `put`, `due` and `keys` block.
    """

    __slots__ = ("_digests", "_file", "_unsaved_bytes", "keys")

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        """Idempotency keys of unfinished ingests, by what was asked for."""
        self._digests: dict[bytes, bytes] = {}
        self._file: tuple[Path, int] | None = None
        self._unsaved_bytes = 0

    @classmethod
    def open(
        cls,
        directory: Path | None,
        name: str,
        stamps: Iterable[bytes] = (),
        check_wanted: Callable[[], None] = lambda: None,
    ) -> Self:
        """Open the cache of this name, or begin it.

        Args:
            directory: where caches are; made if there is none. None is for going without.
            name: of the cache, as a part of a file's name.
            stamps: of the files that are there now; entries of others are dropped.
            check_wanted: raises when the cache is not wanted any more.
        """
        cache = cls()
        if directory is None:
            return cache
        try:
            directory.mkdir(mode=0o777, exist_ok=True)  # less the umask, as for the directories of objects
            _sweep(directory, check_wanted)
            path = directory / f"{name}{_SUFFIX}"
            descriptor = _locked(path)
            if descriptor is not None:
                cache._file = path, descriptor
                check_wanted()
                cache._load(descriptor, stamps)
        except OSError:
            cache.close()
            return cls()
        except BaseException:
            cache.close()
            raise
        return cache

    @property
    def in_use(self) -> bool:
        """Whether there is one."""
        return self._file is not None

    @property
    def due(self) -> bool:
        """Whether as much was read since it was saved that it should be saved again."""
        return self._unsaved_bytes > _SAVE_EVERY * _ENTRY.size * len(self._digests)

    def get(self, stamp: bytes) -> bytes | None:
        """Return the primary digest of the file with this stamp."""
        return self._digests.get(stamp)

    def put(self, stamp: bytes, digest: bytes, size_bytes: int) -> None:
        """Keep the primary digest of a file that was read."""
        if self._file is not None and self._digests.get(stamp) != digest:
            self._digests[stamp] = digest
            self._unsaved_bytes += size_bytes

    def save(self) -> None:
        """Put the file that says what the cache holds now in the place of the one that is there, and lock it."""
        if self._file is None:
            return
        path, locked = self._file
        with suppress(OSError):
            if not self.keys and not self._digests:
                os.ftruncate(locked, 0)
                return
            self._unsaved_bytes = 0
            fresh = path.with_suffix(_FRESH)  # only the owner of the lock makes it
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with os.fdopen(descriptor, "wb", closefd=False) as writer:
                    writer.write(_MAGIC + self._checksum())
                    writer.writelines(self._body())
                fresh.replace(path)
            except BaseException:
                os.close(descriptor)
                raise
            self._file = path, descriptor
            os.close(locked)

    def close(self) -> None:
        """Let go of it; a file that says nothing is removed."""
        if self._file is None:
            return
        path, descriptor = self._file
        self._file = None
        if not os.fstat(descriptor).st_size:
            with suppress(OSError):
                path.unlink()
        os.close(descriptor)

    def _checksum(self) -> bytes:
        checksum = blake3.blake3()
        for part in self._body():
            checksum.update(part)
        return checksum.digest()

    def _body(self) -> Iterator[bytes]:
        """What follows the checksum, in parts, since the whole of it would take as much memory again."""
        yield json.dumps(dict(list(self.keys.items())[-_KEYS_MAX:])).encode() + b"\n"
        for entries in batched(self._digests.items(), _ENTRIES_TOGETHER):
            yield b"".join(chain.from_iterable(entries))

    def _load(self, descriptor: int, stamps: Iterable[bytes]) -> None:
        if os.fstat(descriptor).st_size > _BYTES_MAX:
            return
        with os.fdopen(descriptor, "rb", closefd=False) as reader:
            content = reader.read(_BYTES_MAX)
        start = len(_MAGIC) + _CHECKSUM_BYTES
        body = content[start:]
        if content[:start] != _MAGIC + blake3.blake3(body).digest():
            return
        keys, _, entries = body.partition(b"\n")
        with suppress(ValueError, TypeError, AttributeError, RecursionError, InvalidValue):
            self.keys = {str(what): check_id("idempotency key", key) for what, key in json.loads(keys).items()}
        if not len(entries) % _ENTRY.size:
            found = dict(_ENTRY.iter_unpack(entries))
            self._digests = {stamp: found[stamp] for stamp in stamps if stamp in found}


NO_FILES_CACHE: Final = FilesCache()
"""Knows nothing and keeps nothing."""


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock of the file; None if somebody else has it, or it is no file of a cache's."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid != os.geteuid():
                os.close(descriptor)  # reading a FIFO would never end, and what another user says is not believed
                return None
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            now = path.lstat()
            if (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner removed or replaced it between our opening and our locking it


def _sweep(directory: Path, check_wanted: Callable[[], None]) -> None:
    """Remove caches of directories that nobody ingests. One that is locked is in use, however old it is."""
    kept_since_s = now_us() / 1_000_000 - _KEPT_S
    with os.scandir(directory) as found:
        for entry in islice(found, _SWEPT_MAX):
            check_wanted()
            with suppress(OSError):
                if entry.name.endswith((_SUFFIX, _FRESH)) and entry.stat(follow_symlinks=False).st_mtime < kept_since_s:
                    _remove_unless_locked(entry.path)


def _remove_unless_locked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)  # noqa: PTH108 - a plain string
    finally:
        os.close(descriptor)
