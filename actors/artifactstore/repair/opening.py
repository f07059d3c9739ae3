"""Opening a source: what a path or settings name, found by what is there."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from artifactstore.config import Settings, find_settings
from artifactstore.dataplane import MARKER, open_local_data_plane
from artifactstore.environment import in_thread
from artifactstore.package_copy import SameStore
from artifactstore.refusals import RepairSourceRefused
from artifactstore.repair.directory import DirectorySource
from artifactstore.repair.kept_objects import KeptObjects
from artifactstore.repair.other_store import OtherStoreSource
from artifactstore.repair.source import RepairSource
from artifactstore.transfer.backup_objects import BackupObjects, objects_to_read
from artifactstore.transfer.directory import MARK_NAME, BackupDirectory
from artifactstore_protocols.event_store import EventStore

__all__ = ["open_source"]

_DATABASE: Final = "artifactstore.db"


@asynccontextmanager
async def open_source(store: EventStore, source: Path | Settings | None) -> AsyncGenerator[RepairSource | None]:
    """Open a source of contents for the block.

    A directory with the marker of a backup is a backup. One with the database of a store is a store. One with the
    marker of an object root is such a root. Any other one is a directory with files.

    Raises:
        RepairSourceRefused: there is no such directory.
        BackupRefused: the backup cannot be read.
        SameStore: the source is this store.
        Exception: the errors of `open_registry`, for another store.
    """
    if source is None:
        yield None
        return
    if isinstance(source, Settings):
        settings = source
    else:
        kind = await in_thread(lambda: _kind_of(source))
        if kind != "store":
            async with _open_directory(source, kind) as opened:
                yield opened
            return
        settings = find_settings({}, store=str(source)).settings
    from artifactstore.open import open_registry  # noqa: PLC0415 - it imports the registry, which imports this module

    async with open_registry(settings, create=False) as other:
        # A registry reads the parts of another one.
        actors, other_store = other._actors, other._store  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if (await store.probe()).store_id == (await other_store.probe()).store_id:
            raise SameStore(store.name)
        yield OtherStoreSource(other_store, actors.storage)


def _kind_of(path: Path) -> str:
    if not path.is_dir():
        raise RepairSourceRefused(str(path), "it is no directory; name one, a backup, or another store")
    for name, kind in ((MARK_NAME, "backup"), (_DATABASE, "store"), (MARKER, "root")):
        if (path / name).is_file():
            return kind
    return "files"


@asynccontextmanager
async def _open_directory(path: Path, kind: str) -> AsyncGenerator[RepairSource]:
    if kind == "backup":
        async with objects_to_read(await BackupDirectory.to_read(path)) as objects:
            yield KeptObjects(str(path), objects)
    elif kind == "root":
        async with open_local_data_plane(path, backend_id="backup", read_only=True, small_max=0) as plane:
            yield KeptObjects(str(path), BackupObjects(plane, path))
    else:
        yield DirectorySource(path)
