"""Health of a local root: free space on its device, and a canary file that is written, synced and read back."""

import os
import time
from typing import Final

from artifactstore.backends.local_files import LocalFiles, write_all
from artifactstore.backends.os_errors import error_name, unusable_root
from artifactstore.backends.scratch import discard
from artifactstore_protocols.storage import BackendHealth

__all__ = ["measure_health"]

_CANARY: Final = b"artifactstore canary\n" * 200


def measure_health(files: LocalFiles) -> BackendHealth:
    """Measure the root now; report a root that cannot be used as a failure in the result."""
    total_bytes = free_bytes = free_inodes = code = None
    try:
        room = os.statvfs(files.root)
        total_bytes = room.f_blocks * room.f_frsize
        free_bytes = room.f_bavail * room.f_frsize
        free_inodes = room.f_favail if room.f_files else None  # 0 where the file system does not count inodes
        latency_s, failure = _fly_canary(files)
    except OSError as error:
        latency_s, failure, code = None, unusable_root(error), error_name(error)
    return BackendHealth(files.backend_id, total_bytes, free_bytes, free_inodes, latency_s, failure, code)


def _fly_canary(files: LocalFiles) -> tuple[float | None, str | None]:
    started_s = time.perf_counter()
    fd, path = files.scratch.create()
    try:
        write_all(fd, memoryview(_CANARY))
        os.fsync(fd)
        read_back = os.pread(fd, len(_CANARY), 0)
    finally:
        os.close(fd)
        discard(path)
    if read_back != _CANARY:
        return None, "a canary was read back with other bytes than were written"
    return time.perf_counter() - started_s, None
