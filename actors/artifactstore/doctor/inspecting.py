"""The inspection of a store: its settings, database, objects and locks, as far as each can be read."""

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from artifactstore.config import ENVIRONMENT, FoundSettings, find_settings
from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.database.inspection import DatabaseInspection, inspect_database
from artifactstore.database.location import DatabaseLocation
from artifactstore.dataplane import SMALL_BACKEND_ID, inspect_local_root, marker_of
from artifactstore.doctor.holders import holders_of
from artifactstore.doctor.inspection import Inspection, Setting
from artifactstore.ids import now_us
from artifactstore.misspelled_settings import suggested_settings, unknown_variables
from artifactstore.places import absolute
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.storage import StorageError

__all__ = ["inspect_store"]

_SAMPLE = 100
_LOCK_WAIT_S = 2.0
"""How long a lock may be held before it is reported. A set-up takes half a second, a commit much less."""
_CONNECT_S = 10.0
_POLL_S = 0.05
_WAL_WRITE_LOCK = 120
"""The byte of the `-shm` file that SQLite's writer locks (sqlite.org/walformat.html, section 2.3)."""


def inspect_store(
    environment: Mapping[str, str] = os.environ, *, store: str | None = None, lock_wait_s: float = _LOCK_WAIT_S
) -> Inspection:
    """Inspect the store that the settings name. Blocks, for some seconds if another process holds a lock.

    Args:
        environment: see `Settings.load`.
        store: see `Settings.load`.
        lock_wait_s: how long another process may hold a lock before it is reported.
    """
    seen = Inspection(
        now_us(),
        user=f"{os.geteuid()}:{os.getegid()}",
        suggested_settings=suggested_settings(environment, ENVIRONMENT),
        unknown_variables=unknown_variables(environment, ENVIRONMENT),
    )
    try:
        found = find_settings(environment, store=store, tolerant=True)
        location = DatabaseLocation.parse(found.settings.database_url)
        root = absolute("storage root", found.settings.storage_local_root)
    except InvalidValue as refusal:
        return replace(seen, settings_refusal=str(refusal))
    seen = replace(seen, settings=_shown(found, location, root), database=location.name)
    seen = _with_database(seen, location, lock_wait_s, _collected_at(root))
    database = seen.database_found
    locations = () if database is None else database.locations
    files, rows = (
        {each.object_key: each.size_bytes for each in locations if each.backend_id == backend_id}
        for backend_id in ("local", SMALL_BACKEND_ID)
    )
    return replace(seen, root=str(root), root_found=inspect_local_root(root, files, rows))


def _shown(found: FoundSettings, location: DatabaseLocation, root: Path) -> dict[str, Setting]:
    """Return the settings with absolute paths and without passwords."""
    values: dict[str, str | int] = {
        "database_url": location.name,
        "storage_local_root": str(root),
    }
    values |= {name: getattr(found.settings, name) for name in found.origins if name not in values}
    return {name: Setting(value, found.origins[name]) for name, value in values.items()}


def _collected_at(root: Path) -> int:
    """Return the sequence in the marker of a root; 0 without one. `inspect_local_root` reports one that is damaged."""
    try:
        marker = marker_of(root)
    except (InvalidValue, StorageError):
        return 0
    return 0 if marker is None else marker.collected_at


def _with_database(seen: Inspection, location: DatabaseLocation, lock_wait_s: float, collected_at: int) -> Inspection:
    path = location.path
    if path is not None:
        seen = replace(
            seen,
            database_file=path.exists(),
            database_elsewhere=_elsewhere(path),
            database_free_bytes=_room(path),
        )
        if not seen.database_file:
            return seen
        if not path.is_file():
            return replace(seen, database_failure="it is no regular file")
        seen = replace(seen, setup_lock=_setup_lock(path, lock_wait_s))
    try:
        found = asyncio.run(_inspect(location, lock_wait_s, collected_at))
    except DatabaseUnavailable as failure:
        return replace(seen, database_failure=failure.reason)
    if path is not None and found.head_lock is not None:
        found = replace(found, head_lock=holders_of(Path(f"{path}-shm"), "POSIX", byte=_WAL_WRITE_LOCK))
    return replace(seen, database_found=found)


async def _inspect(location: DatabaseLocation, lock_wait_s: float, collected_at: int) -> DatabaseInspection:
    start = f"blake3:{secrets.token_hex(32)}"
    try:
        async with asyncio.timeout(_CONNECT_S + 2 * lock_wait_s):
            return await inspect_database(
                location, from_address=start, sample=_SAMPLE, lock_wait_s=lock_wait_s, collected_at=collected_at
            )
    except TimeoutError:
        raise DatabaseUnavailable(location.name, "it does not answer") from None


def _elsewhere(path: Path) -> str | None:
    """Return the nearest file with the same relative path in a parent directory, if `path` itself does not exist."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was deleted
        return None
    if path.exists() or not path.is_relative_to(here):
        return None
    below = path.relative_to(here)
    return next((str(above / below) for above in here.parents if (above / below).is_file()), None)


def _room(path: Path) -> int | None:
    device = next(directory for directory in path.parents if directory.exists())
    try:
        room = os.statvfs(device)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize


def _setup_lock(path: Path, wait_s: float) -> tuple[str, ...] | None:
    """Return the holders of the set-up lock; None if it is free within `wait_s`."""
    lock = Path(f"{path}.lock")
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: opening a pipe would wait
    except OSError:  # there is no lock file, or it belongs to another user
        return None
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return holders_of(lock, "FLOCK")
                time.sleep(_POLL_S)
            else:
                return None
    finally:
        os.close(descriptor)
