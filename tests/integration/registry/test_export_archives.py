"""Archives of packages: equal everywhere, and never complete without every byte."""

import asyncio
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from artifactstore import Registry, Settings, aio, blocking, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore.errors import LinksLeadOut, ObjectDamaged, PathsNotInPackage, ProjectionDamaged
from artifactstore.package_export import ArchiveForm, archive
from artifactstore_protocols.archives import TAR_END
from artifactstore_protocols.records import IngestProgress
from integration.registry.samples import CHUNK, object_file, plant
from stored_objects import overwrite

pytestmark = pytest.mark.slow

FORMS: tuple[ArchiveForm, ...] = ("tar", "zip")
FILES = {"a": b"1", "dir/b": b"22", "bin/run": b"#!", "large": b"l" * (CHUNK + 5), "z/caf\u00e9": b"", "Z": b"Z"}


@pytest.fixture
def planted(tree: Path) -> Path:
    """A tree of files, one of them large and one executable, with a link and an empty directory."""
    plant(tree, FILES)
    (tree / "bin" / "run").chmod(0o755)
    (tree / "dir" / "up").symlink_to("../a")
    (tree / "empty").mkdir()
    return tree


async def read(stream: AbstractAsyncContextManager[AsyncIterator[bytes]]) -> bytes:
    async with stream as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_the_archives_hold_the_tree(registry: Registry, planted: Path) -> None:
    package = (await registry.ingest_tree(planted)).package_id
    told: list[IngestProgress] = []
    tar = await read(registry.export_archive(package, "tar", progress=told.append))
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened_archive:
        members = {member.name: member for member in opened_archive}
        contents = {name: opened.read() for name in FILES if (opened := opened_archive.extractfile(name))}
    assert list(members) == ["Z", "a", "bin/run", "dir/b", "dir/up", "empty", "large", "z/caf\u00e9"]
    assert (contents, members["dir/up"].linkname, members["bin/run"].mode) == (FILES, "../a", 0o755)
    assert (told[-1].files, told[-1].bytes) == (len(FILES), sum(map(len, FILES.values())))
    with zipfile.ZipFile(io.BytesIO(await read(registry.export_archive(package, "zip")))) as zipped:
        assert zipped.testzip() is None
        assert {name: zipped.read(name) for name in FILES} == FILES


@pytest.mark.parametrize("form", FORMS)
async def test_an_archive_has_the_same_bytes_twice_and_on_both_databases(
    settings: Settings, planted: Path, tmp_path: Path, postgres_location: DatabaseLocation, form: ArchiveForm
) -> None:
    url = postgres_location.url.render_as_string(hide_password=False)
    other = replace(settings, database_url=url, storage_local_root=tmp_path / "other objects", storage_small_max=0)
    archives: list[bytes] = []
    for each in (settings, other):
        async with open_registry(each) as registry:
            package = (await registry.ingest_tree(planted, files_cache=False)).package_id
            archives += [await read(registry.export_archive(package, form)) for _ in range(2)]
    assert len(set(archives)) == 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", ["large", "z/last"])
async def test_an_archive_with_a_damaged_object_has_no_end(
    registry: Registry, settings: Settings, planted: Path, form: ArchiveForm, path: str
) -> None:
    plant(planted, {"z/last": b"last"})
    package = (await registry.ingest_tree(planted)).package_id
    record = await registry.get_file_record(package, path)
    overwrite(object_file(settings, record.content_address), b"?" * record.size_bytes)
    received = bytearray()

    async def receive() -> None:
        async with registry.export_archive(package, form) as chunks:
            async for chunk in chunks:
                received.extend(chunk)

    with pytest.raises(ObjectDamaged):
        await receive()
    assert received, "what came before is sound"
    if form == "zip":
        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO(received))
    else:
        assert not received.endswith(TAR_END)


@pytest.mark.parametrize("path", ["a", "large"])
async def test_a_size_that_the_tables_have_wrong_ends_the_archive(registry: Registry, planted: Path, path: str) -> None:
    package = (await registry.ingest_tree(planted)).package_id
    record = await registry.get_file_record(package, path)

    def read_one(_address: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return registry.get_file(package, path)

    async def read_many(_addresses: Sequence[str]) -> list[bytes]:
        return [FILES[path]]

    wrong = [replace(record, size_bytes=record.size_bytes + 1)]
    with pytest.raises(ProjectionDamaged, match=f"the size of '{path}'"):
        _ = [chunk async for chunk in archive(wrong, "tar", read_one, read_many, None)]


async def test_a_part_of_a_package_is_an_archive_too(registry: Registry, planted: Path) -> None:
    package = (await registry.ingest_tree(planted)).package_id
    tar = await read(registry.export_archive(package, "tar", paths=["bin", "a"], strip_components=1))
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened_archive:
        assert opened_archive.getnames() == ["run"]
    with pytest.raises(LinksLeadOut):
        await read(registry.export_archive(package, "zip", subtree="dir"))
    with pytest.raises(PathsNotInPackage):
        await read(registry.export_archive(package, "zip", subtree="nope"))


async def test_an_archive_of_an_empty_package_has_an_end(registry: Registry) -> None:
    package = (await registry.create_package("nothing")).package_id
    assert await read(registry.export_archive(package, "tar")) == TAR_END


def test_every_kind_of_program_gets_the_same_archive(settings: Settings, planted: Path) -> None:
    with blocking.open_registry(settings) as registry:
        package = registry.ingest_tree(planted).package_id
        with registry.export_archive(package, "zip", subtree="bin") as chunks:
            plain = b"".join(chunks)

    async def on_asyncio() -> bytes:
        async with aio.open_registry(settings) as registry:
            return await read(registry.export_archive(package, "zip", subtree="bin"))

    async def on_trio() -> bytes:
        async with open_registry(settings) as registry:
            return await read(registry.export_archive(package, "zip", subtree="bin"))

    assert asyncio.run(on_asyncio()) == trio.run(on_trio) == plain
