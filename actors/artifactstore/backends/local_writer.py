"""Writer for one object of any size in a local root, so that its caller can hash and store it in one pass."""

import os
from collections.abc import Buffer
from contextlib import suppress
from typing import Self

from artifactstore.backends.local_files import LocalFiles, make_read_only, write_all
from artifactstore.backends.os_errors import translated_os_errors
from artifactstore.backends.scratch import discard
from artifactstore.durable import fsync_directory, sync_file
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.storage import PutOutcome

__all__ = ["LocalWriter"]


class LocalWriter:
    """An `ObjectWriter` over a temp file. Only one thread may use it at a time."""

    __slots__ = ("_fd", "_files", "_size_bytes", "_temp_path")

    def __init__(self, files: LocalFiles) -> None:
        self._files = files
        self._size_bytes = 0
        with translated_os_errors(files.backend_id, "making a temp file"):
            fd, self._temp_path = files.scratch.create()
        self._fd: int | None = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.abort()

    def _open_fd(self) -> int:
        if self._fd is None:
            raise RuntimeError("this writer is committed or aborted; begin another write")
        return self._fd

    def write(self, buffer: Buffer) -> None:
        """Append all bytes of a buffer."""
        with memoryview(buffer) as view, translated_os_errors(self._files.backend_id, "writing an object"):
            write_all(self._open_fd(), view.cast("B"))
            self._size_bytes += view.nbytes

    def commit(self, object_key: str) -> PutOutcome:
        """Make the object durable under its key."""
        fd = self._open_fd()
        with translated_os_errors(self._files.backend_id, "storing an object"):
            check_object_key(object_key)
            there = self._files.is_there(
                object_key, self._size_bytes, lambda offset, length: os.pread(fd, length, offset)
            )
            if not there:
                make_read_only(fd, self._files.limits)
                sync_file(fd, self._files.limits)
                self._files.place(self._temp_path, self._files.path_of(object_key))
            # Sync for an existing object too: the process that renamed it may not have synced its directories yet.
            for directory in reversed(self._files.directories_of(object_key)):
                with suppress(FileNotFoundError):  # see `BatchSync.flush_directories`
                    fsync_directory(directory, self._files.limits)
        self.abort()
        return "deduplicated" if there else "stored"

    def abort(self) -> None:
        """Discard the object unless it is committed. Does nothing when repeated."""
        if self._fd is not None:
            with suppress(OSError):  # an error about discarded bytes has no consequence
                os.close(self._fd)
            self._fd = None
            discard(self._temp_path)
