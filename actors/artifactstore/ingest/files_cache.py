"""The files cache: digests of the files that an ingest read, so that the next ingest skips unchanged files.

Each ingested directory has one cache file, below the object root. The cache maps the stamp of a file, taken from its
inode (see `scan.STAMP`), to the digest of the file's content. It also holds the idempotency keys of unfinished ingests.
It holds no path and no content.

The cache is a hint: an ingest checks its digests against the log and the storage. A cache file that is missing, damaged
or written by another program costs reads, but is never an error. An ingest locks the cache file while it uses it. A
second ingest of the same directory at that time works without a cache.
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
"""Maximum size of a cache file in bytes: the entries of 1.8 million files. A larger file is ignored."""

_ENTRIES_TOGETHER: Final = 4096
"""Number of entries that are hashed or written at a time."""

_KEYS_MAX: Final = 16
"""Unfinished ingests per directory in a cache file. They differ in name, retention, metadata, principal or links."""

_SAVE_EVERY: Final = 16
"""Bytes of files that an ingest reads per byte of the cache before it saves the cache again. So saving costs little
compared to reading, and a killed process loses little."""

_KEPT_S: Final = 30 * 24 * 3600
"""Seconds without an ingest after which the cache of a directory is removed."""

_SWEPT_MAX: Final = 10_000
"""Maximum number of cache files that one sweep inspects."""

_RACY_NS: Final = 2_000_000_000
"""Resolution of the coarsest file system clock (FAT's). A second change within a tick does not change the stamp."""


def worth_keeping(stamp: bytes, looked_at_us: int) -> bool:
    """Return whether a later change of the file would change its stamp.

    False if the file's times are close to `looked_at_us` or after it, perhaps because of a wrong clock. The file could
    change again within the same tick (git calls such an entry racy).

    Args:
        stamp: the `STAMP` of the file.
        looked_at_us: a time before the stamp was read, in microseconds since the epoch.
    """
    _device, _inode, _size, mtime_ns, ctime_ns = STAMP.unpack(stamp)
    return bool(max(mtime_ns, ctime_ns) < looked_at_us * 1000 - _RACY_NS)


class FilesCache:
    """The cache of one directory, open and locked. Without a file, the cache is empty and stores nothing.

    All methods but `get`, `put`, `due` and `keys` block.
    """

    __slots__ = ("_digests", "_file", "_unsaved_bytes", "keys")

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        """Idempotency keys of unfinished ingests, by the digest of their request."""
        self._digests: dict[bytes, bytes] = {}
        self._file: tuple[Path, int] | None = None
        self._unsaved_bytes = 0

    @classmethod
    def open(
        cls,
        directory: Path | None,
        name: str,
        stamps: Iterable[bytes] = (),
        check_cancelled: Callable[[], None] = lambda: None,
    ) -> Self:
        """Open the cache of this name, and create it if it is missing.

        Errors of the operating system, and a cache that is locked, give a cache without a file.

        Args:
            directory: directory of the caches, created if missing. None gives a cache without a file.
            name: name of the cache, used in its file name.
            stamps: stamps of the current files. The entries of all other stamps are dropped.
            check_cancelled: raises when the caller is cancelled.
        """
        cache = cls()
        if directory is None:
            return cache
        try:
            directory.mkdir(mode=0o777, exist_ok=True)  # minus the umask, as for object directories
            _sweep(directory, check_cancelled)
            path = directory / f"{name}{_SUFFIX}"
            descriptor = _locked(path)
            if descriptor is not None:
                cache._file = path, descriptor
                check_cancelled()
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
        """Return whether the cache has a file."""
        return self._file is not None

    @property
    def due(self) -> bool:
        """Return whether enough bytes were read since the last save to save the cache again."""
        return self._unsaved_bytes > _SAVE_EVERY * _ENTRY.size * len(self._digests)

    def get(self, stamp: bytes) -> bytes | None:
        """Return the primary digest of the file with this stamp; None if it is unknown."""
        return self._digests.get(stamp)

    def put(self, stamp: bytes, digest: bytes, size_bytes: int) -> None:
        """Add the primary digest of a file that was read."""
        if self._file is not None and self._digests.get(stamp) != digest:
            self._digests[stamp] = digest
            self._unsaved_bytes += size_bytes

    def save(self) -> None:
        """Write the cache to a new, locked file, and rename that over the old file. Ignore errors of the system."""
        if self._file is None:
            return
        path, locked = self._file
        with suppress(OSError):
            if not self.keys and not self._digests:
                os.ftruncate(locked, 0)
                return
            self._unsaved_bytes = 0
            fresh = path.with_suffix(_FRESH)  # only the owner of the lock creates this file
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
        """Close the file, which releases its lock; remove the file if it is empty."""
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
        """Yield the bytes after the checksum in parts, since a copy of all would double the memory."""
        yield json.dumps(dict(list(self.keys.items())[-_KEYS_MAX:])).encode() + b"\n"
        for entries in batched(self._digests.items(), _ENTRIES_TOGETHER):
            yield b"".join(chain.from_iterable(entries))

    def _load(self, descriptor: int, stamps: Iterable[bytes]) -> None:
        """Read the keys and the digests of these stamps; keep none if the file is too large or damaged."""
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
"""A cache that is empty and stores nothing."""


def _locked(path: Path) -> int | None:
    """Return a descriptor that locks the file; None if another process has the lock, or it is not a cache file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid != os.geteuid():
                os.close(descriptor)  # a read of a FIFO may never end, and files of other users are not trusted
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
        os.close(descriptor)  # its owner removed or replaced the file before this process locked it


def _sweep(directory: Path, check_cancelled: Callable[[], None]) -> None:
    """Remove caches that no ingest has used for `_KEPT_S`. Keep locked caches, which are in use."""
    kept_since_s = now_us() / 1_000_000 - _KEPT_S
    with os.scandir(directory) as found:
        for entry in islice(found, _SWEPT_MAX):
            check_cancelled()
            with suppress(OSError):
                if entry.name.endswith((_SUFFIX, _FRESH)) and entry.stat(follow_symlinks=False).st_mtime < kept_since_s:
                    _remove_unless_locked(entry.path)


def _remove_unless_locked(path: str) -> None:
    """Remove a cache file; raise BlockingIOError if an ingest uses it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)  # noqa: PTH108 - a plain string
    finally:
        os.close(descriptor)
