"""The objects of a backup, which a data plane of the backup reads and writes.

Objects up to `SMALL_BYTES_MAX` are rows of one SQLite file, as in a store, if the target can hold such a file; the
backup tests that. On other targets, such as a network file system, each object is a file. Both forms can be read on
any target.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from artifactstore.dataplane import SMALL_BACKEND_ID, InProcessDataPlane, open_local_data_plane
from artifactstore.transfer.directory import BackupDirectory
from artifactstore.transfer.objects import Flaw, NamedObject
from artifactstore_protocols.dataplane import FileSource
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.storage import KnownObject, ObjectDamaged, ObjectMissing, Place

__all__ = ["BackupObjects", "objects_to_read", "objects_to_write"]

SMALL_BYTES_MAX: Final = 64 << 10
_BACKEND_ID: Final = "backup"


class BackupObjects:
    """The objects of one open backup.

    Attributes:
        plane: the data plane that reads and writes the objects.
        root: the directory of the objects.
    """

    def __init__(self, plane: InProcessDataPlane, root: Path) -> None:
        self.plane = plane
        self.root = root

    async def look_up(self, named: Sequence[NamedObject]) -> tuple[list[KnownObject], list[int | None]]:
        """Return the place and the size of each object in the backup. The size is None if the object is missing."""
        small = [each.size_bytes <= SMALL_BYTES_MAX for each in named]
        known = [
            _known(each, SMALL_BACKEND_ID if is_small else _BACKEND_ID)
            for each, is_small in zip(named, small, strict=True)
        ]
        sizes = list(await self.plane.stat_objects(known))
        others = [index for index, is_small in enumerate(small) if is_small and sizes[index] is None]
        files = [_known(named[index], _BACKEND_ID) for index in others]
        for index, file, size_bytes in zip(others, files, await self.plane.stat_objects(files), strict=True):
            known[index], sizes[index] = file, size_bytes
        return known, sizes

    async def sources(self, named: Sequence[NamedObject]) -> list[FileSource | Flaw]:
        """Return the source of each object in the backup, with bytes if it is a row, or the flaw of the object."""
        known, sizes = await self.look_up(named)
        found: list[FileSource | Flaw] = []
        rows: list[int] = []
        for index, (each, place, size_bytes) in enumerate(zip(named, known, sizes, strict=True)):
            source = FileSource(place.place.object_key, str(self.root), each.digests)
            is_row = place.place.backend_id == SMALL_BACKEND_ID
            if size_bytes is not None and size_bytes != each.size_bytes:  # not read, as it may be too large
                found.append("damaged")
            elif size_bytes is None:
                found.append("missing")
            else:
                rows += [index] if is_row else []
                found.append(source)
        contents = await self.plane.read_objects([known[index] for index in rows])
        for index, content in zip(rows, contents, strict=True):
            if isinstance(content, bytes):
                key = known[index].place.object_key
                found[index] = FileSource(key, str(self.root), named[index].digests, content)
            elif isinstance(content, ObjectMissing | ObjectDamaged):
                found[index] = "missing" if isinstance(content, ObjectMissing) else "damaged"
            else:
                raise content
        return found


def _known(named: NamedObject, backend_id: str) -> KnownObject:
    """Return an object as it is stored in a backend of the backup, at its first key."""
    return KnownObject(named.address, named.size_bytes, Place(backend_id, first_key(named.address)))


@asynccontextmanager
async def objects_to_write(directory: BackupDirectory) -> AsyncGenerator[BackupObjects]:
    """Open the objects of a backup that `BackupDirectory.to_write` has locked.

    Raises:
        StorageError: the objects cannot be written.
    """
    opening = open_local_data_plane(
        directory.objects,
        backend_id=_BACKEND_ID,
        small_max=SMALL_BYTES_MAX,
        small_optional=True,
        limits=directory.limits,
    )
    async with opening as plane:
        yield BackupObjects(plane, directory.objects)


@asynccontextmanager
async def objects_to_read(directory: BackupDirectory) -> AsyncGenerator[BackupObjects]:
    """Open the objects of a backup read-only."""
    async with open_local_data_plane(directory.objects, backend_id=_BACKEND_ID, read_only=True, small_max=0) as plane:
        yield BackupObjects(plane, directory.objects)
