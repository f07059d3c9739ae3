"""Each database has an id of its own, which its object root carries; a clone and a rewound database are told apart."""

import shutil
import uuid
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.backends.root_marker import MARKER, read_marker, update_marker
from artifactstore.database.location import DatabaseLocation
from artifactstore.doctor import examine, inspect_store
from artifactstore.environment import in_thread
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.root_markers import SHARED, CollectionRefused, RootMarker
from integration.registry.samples import add, check_sound, content_of, plant, settings_in, whole_log


async def id_of(registry: Registry) -> str:
    """The id that health shows."""
    report = await registry.health(max_age_s=0)
    (details,) = (part.details for part in report.components if part.name == "database")
    store_id = details["store_id"]
    assert isinstance(store_id, str)
    assert str(uuid.UUID(store_id)) == store_id
    return store_id


async def findings_of(settings: Settings) -> list[tuple[str, str]]:
    environment = {
        "ARTIFACTSTORE_DATABASE_URL": settings.database_url,
        "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": str(settings.storage_local_root),
    }
    found = await in_thread(lambda: examine(inspect_store(environment)))
    return [(each.problem, each.remedy) for each in found if each.check == "collection"]


def marker_of(settings: Settings) -> RootMarker | None:
    return read_marker(settings.storage_local_root)


def collected_at(settings: Settings, store_id: str, head: StoredEvent) -> None:
    """What a collection leaves."""
    marker = RootMarker(store_id, head.sequence, head.event.event_id)
    update_marker(settings.storage_local_root, lambda _found: marker)


@pytest.fixture
def here(tmp_path: Path, location: DatabaseLocation) -> Settings:
    """A store on either database."""
    return replace(settings_in(tmp_path / "store"), database_url=location.url.render_as_string(hide_password=False))


async def fill(registry: Registry, name: str) -> str:
    package = (await registry.create_package(name)).package_id
    await add(registry, package, "f", name.encode())
    return package


async def test_opening_a_store_claims_its_root_and_the_id_stays(here: Settings) -> None:
    async with open_registry(here) as registry:
        first = await id_of(registry)
        await fill(registry, "p")
    assert marker_of(here) == RootMarker(first, 0)
    async with open_registry(here) as registry:
        assert await id_of(registry) == first
    assert await findings_of(here) == []


@pytest.mark.slow
async def test_a_restored_and_an_imported_log_have_ids_of_their_own(here: Settings, tmp_path: Path) -> None:
    restored, imported = settings_in(tmp_path / "restored"), settings_in(tmp_path / "imported")
    target, file = tmp_path / "backup", tmp_path / "log"
    async with open_registry(here) as registry:
        await fill(registry, "p")
        log, first = await whole_log(registry), await id_of(registry)
        await registry.backup(target)
        await registry.export_events(file)
    ids = {first}
    async with open_registry(restored) as registry:
        await registry.restore(target)
        assert await whole_log(registry) == log
        ids.add(await id_of(registry))
    async with open_registry(imported) as registry:
        await registry.import_events(file)
        ids.add(await id_of(registry))
    assert len(ids) == 3
    copied = [path for path in target.rglob("*") if path.is_file() and path.name != "store-id"]  # of its tokens
    for path in (file, *copied):
        assert not any(each.encode() in path.read_bytes() for each in ids), path
    assert not list(target.rglob(MARKER))


@pytest.mark.slow
async def test_a_clone_works_and_the_doctor_names_it(here: Settings, tmp_path: Path) -> None:
    """Its log is imported into a second database, which uses the same root."""
    clone = replace(settings_in(tmp_path / "clone"), storage_local_root=here.storage_local_root)
    async with open_registry(here) as registry:
        package, first = await fill(registry, "p"), await id_of(registry)
        await registry.export_events(tmp_path / "log")
    async with open_registry(clone) as registry:
        await registry.import_events(tmp_path / "log")
        second = await id_of(registry)
        await fill(registry, "of the clone")
        assert await content_of(registry, package, "f") == b"p"
        assert (await registry.verify()).mismatches == ()
        await check_sound(registry)
    assert marker_of(here) == RootMarker(SHARED, 0)
    ((problem, _remedy),) = await findings_of(here)
    assert f"store {first} may not collect here: several databases have used this object root" in problem
    ((problem, remedy),) = await findings_of(clone)
    assert f"store {second} may not collect here" in problem
    marker = here.storage_local_root / MARKER
    assert f"`rm {marker}`" in remedy
    marker.unlink()  # the first database is gone for good, and this one takes its root
    async with open_registry(clone):
        pass
    assert marker_of(clone) == RootMarker(second, 0)
    assert await findings_of(clone) == []


def put_back(copy: Path, database: Path) -> None:
    for beside in database.parent.glob("artifactstore.db*"):
        beside.unlink()
    shutil.copyfile(copy, database)


@pytest.mark.slow
async def test_a_database_that_was_put_back_works_and_the_doctor_names_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    database, copy = tmp_path / "artifactstore.db", tmp_path / "copy.db"
    async with open_registry(settings) as registry:
        await fill(registry, "p")
        store_id = await id_of(registry)
    shutil.copyfile(database, copy)
    async with open_registry(settings) as registry:
        await fill(registry, "later")
        last = (await whole_log(registry))[-1]
        head = last.sequence
    await in_thread(partial(collected_at, settings, store_id, last))
    assert await findings_of(settings) == []
    put_back(copy, database)
    async with open_registry(settings) as registry:
        assert await id_of(registry) == store_id
        before = len(await whole_log(registry))
        ((problem, remedy),) = await findings_of(settings)
        assert f"its log ends at event {before}, and it has collected at event {head}" in problem
        assert "Restore the latest backup" in remedy
        await fill(registry, "after it was put back")
        assert (await registry.verify()).mismatches == ()
        while len(await whole_log(registry)) < head:
            await fill(registry, "as long as before")
        ((problem, _remedy),) = await findings_of(settings)
        assert f"it has collected at event {head}, and its log has another event there" in problem
        with pytest.raises(CollectionRefused, match="put back"):
            await registry.collect_garbage()
    assert marker_of(settings) == RootMarker(store_id, head, last.event.event_id)


@pytest.mark.slow
async def test_a_marker_that_cannot_be_read_stops_nothing_and_the_doctor_names_it(here: Settings) -> None:
    here.storage_local_root.mkdir(parents=True)
    (here.storage_local_root / MARKER).write_text("of something else")
    async with open_registry(here) as registry:
        await fill(registry, "p")
    ((problem, remedy),) = await findings_of(here)
    assert "cannot be read" in problem
    assert f"`rm {here.storage_local_root / MARKER}`" in remedy
    assert (here.storage_local_root / MARKER).read_text() == "of something else"


async def test_a_root_that_cannot_be_marked_is_used_all_the_same(
    here: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a mount that is read-only, or has no locks."""

    def fails(*_arguments: object) -> None:
        raise OSError(30, "read-only file system")

    monkeypatch.setattr("artifactstore.open.update_marker", fails)
    async with open_registry(here) as registry:
        await fill(registry, "p")
    assert marker_of(here) is None
    assert await findings_of(here) == []


async def test_an_ingest_of_a_tree_with_the_store_in_it_leaves_the_marker_out(tmp_path: Path) -> None:
    tree = plant(tmp_path / "tree", {"a": b"a", MARKER: b"somebody's own file of that name"})
    settings = settings_in(tree / "store")
    async with open_registry(settings) as registry:
        package = (await registry.create_package("p")).package_id
        await registry.ingest_directory(package, tree)
        paths = {file.path for file in await registry.list_files(package)}
    assert paths == {"a", MARKER}
    assert marker_of(settings) is not None
