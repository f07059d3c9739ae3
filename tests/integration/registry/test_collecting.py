"""Garbage collection: what goes, what stays, who may collect, and what a collection that dies leaves to the next."""

import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.collecting import Collection
from artifactstore.database.location import DatabaseLocation
from artifactstore.errors import CollectionRefused, ProjectionDamaged
from artifactstore.ids import new_id
from artifactstore.testing.backend_conformance import address_of, key_of
from artifactstore_protocols.collection import CollectionReport, ObjectTotals
from artifactstore_protocols.commands import Command, CommandRequest
from artifactstore_protocols.events import Committed
from artifactstore_protocols.messages import Commit
from integration.registry.samples import add, content_of, plant, settings_in, whole_log
from stored_objects import objects_in

LARGE, SMALL, SHARED = b"large" * 20_000, b"small", b"shared"

on_both = pytest.mark.parametrize(
    "settings", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
"""Runs a test on SQLite, and as a slow one on PostgreSQL."""


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A store that does not exist yet, on the database that `on_both` asks for."""
    settings = settings_in(tmp_path / "store")
    if getattr(request, "param", "sqlite") == "sqlite":
        return settings
    location = cast("DatabaseLocation", request.getfixturevalue("postgres_location"))
    return replace(settings, database_url=location.url.render_as_string(hide_password=False))


def hexes(*contents: bytes) -> set[str]:
    return {address_of(content).digest.hex for content in contents}


async def collect(registry: Registry, *, grace_s: float = 0.0, orphan_age_s: float = 0.0) -> CollectionReport:
    return await registry.collect_garbage(grace_s=grace_s, orphan_age_s=orphan_age_s)


async def delete(registry: Registry, package: str) -> None:
    await registry.delete_package(package, reason="a test", before_expiry=True)


async def types_of(registry: Registry) -> Counter[str]:
    return Counter(stored.event.type for stored in await whole_log(registry))


@on_both
async def test_only_what_no_package_refers_to_is_deleted(registry: Registry, settings: Settings, tree: Path) -> None:
    plant(tree, {"a": LARGE, "b": SMALL, "c": SHARED})
    gone = await registry.ingest_tree(tree, name="gone")
    plant(tree, {"a": b"other", "b": b"other"})
    kept = await registry.ingest_tree(tree, name="kept")
    root = settings.storage_local_root
    assert (await collect(registry)).deleted == ObjectTotals()
    await delete(registry, gone.package_id)
    waiting = await collect(registry, grace_s=3600)
    size = len(LARGE) + len(SMALL)
    assert (waiting.entries, waiting.waiting, waiting.deleted) == (3, ObjectTotals(2, size), ObjectTotals())
    assert set(objects_in(root)) == hexes(LARGE, SMALL, SHARED, b"other")
    report = await collect(registry)
    assert (report.condemned, report.deleted, report.failures) == (ObjectTotals(2, size), ObjectTotals(2, size), ())
    assert set(objects_in(root)) == hexes(SHARED, b"other")
    assert {await content_of(registry, kept.package_id, path) for path in "abc"} == {b"other", SHARED}
    assert (await registry.verify()).sound
    assert (await registry.replay(check=True)).identical
    before = await types_of(registry)
    assert (await collect(registry)).deleted == ObjectTotals()
    assert await types_of(registry) == before


@on_both
async def test_a_dry_run_counts_by_reason_and_changes_nothing(
    registry: Registry, settings: Settings, tree: Path
) -> None:
    plant(tree, {"a": LARGE})
    await delete(registry, (await registry.ingest_tree(tree)).package_id)
    await collect(registry, grace_s=3600)
    plant(tree, {"b": SMALL})
    await delete(registry, (await registry.ingest_tree(tree)).package_id)
    plant(settings.storage_local_root, {key_of(b"orphan"): b"orphan"})
    log, objects = await whole_log(registry), objects_in(settings.storage_local_root)
    marker = (settings.storage_local_root / "artifactstore-root").read_bytes()
    report = await registry.collect_garbage(dry_run=True, grace_s=0.0, orphan_age_s=0.0)
    assert report.dry_run
    assert (report.entries, report.condemned, report.orphans) == (2, ObjectTotals(), ObjectTotals(1, 6))
    assert (report.deleted, report.entry_bytes, report.listed) == (ObjectTotals(), len(LARGE) + len(SMALL), True)
    kept = await registry.collect_garbage(dry_run=True)
    assert (kept.orphans, kept.waiting, kept.listed) == (ObjectTotals(), ObjectTotals(), False)
    stats = await registry.stats()
    assert (stats.unreleased, stats.unreleased_bytes, stats.deleted) == (2, report.entry_bytes, 2)
    assert (await whole_log(registry), objects_in(settings.storage_local_root)) == (log, objects)
    assert (settings.storage_local_root / "artifactstore-root").read_bytes() == marker
    real = await collect(registry)
    assert (real.entries, real.condemned.objects, real.orphans.objects) == (2, 2, 1)
    stats = await registry.stats()
    assert (stats.unreleased, stats.unreleased_bytes, stats.condemned, stats.objects) == (0, 0, 0, 0)
    assert (stats.retired, stats.retired_bytes, stats.removed) == (2, report.entry_bytes, 3), "the orphan too"
    assert stats.last_collection is not None
    assert (stats.last_collection.objects, stats.last_collection.flaws) == (3, 0)


@on_both
async def test_a_condemned_object_is_used_again_without_writing_its_bytes(
    registry: Registry, settings: Settings, tree: Path
) -> None:
    plant(tree, {"a": LARGE})
    first = await registry.ingest_tree(tree, name="first")
    object_file = settings.storage_local_root / key_of(LARGE)
    before = object_file.stat()
    await delete(registry, first.package_id)
    await collect(registry, grace_s=3600)
    assert (await types_of(registry))["v1.objects.condemned"] == 1
    second = await registry.ingest_tree(tree, name="second", files_cache=False)
    assert (await types_of(registry))["v1.objects.reprieved"] == 1
    await collect(registry)
    after = object_file.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    assert await content_of(registry, second.package_id, "a") == LARGE


@on_both
async def test_a_content_that_was_deleted_comes_back_under_its_next_key(
    registry: Registry, settings: Settings, tree: Path
) -> None:
    plant(tree, {"a": LARGE, "b": SMALL})
    await delete(registry, (await registry.ingest_tree(tree)).package_id)
    await collect(registry)
    again = await registry.ingest_tree(tree)
    assert await content_of(registry, again.package_id, "a") == LARGE
    # The ingest stored the contents under their first keys before the log refused those. The next sweep deletes them.
    assert {name.partition(".")[2] for name in objects_in(settings.storage_local_root)} == {"", "g2"}
    before = await types_of(registry)
    report = await collect(registry)
    size = len(LARGE) + len(SMALL)
    assert (report.late, report.deleted) == (ObjectTotals(2, size), ObjectTotals(2, size))
    assert await types_of(registry) == before, "a sweep repeats no event"
    assert {name.partition(".")[2] for name in objects_in(settings.storage_local_root)} == {"g2"}
    assert await content_of(registry, again.package_id, "a") == LARGE


@on_both
async def test_a_replaced_file_is_collected(registry: Registry, settings: Settings) -> None:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "a", SMALL)
    await registry.ingest_file(package, "a", _source(settings, SHARED), replace=True)
    assert (await collect(registry)).deleted == ObjectTotals(1, len(SMALL))
    assert await content_of(registry, package, "a") == SHARED


def _source(settings: Settings, content: bytes) -> Path:
    directory = settings.storage_local_root.parent.parent / "sources"
    directory.mkdir(exist_ok=True)
    (directory / "f").write_bytes(content)
    return directory / "f"


@on_both
async def test_orphans_go_by_age_and_other_files_never(registry: Registry, settings: Settings, tree: Path) -> None:
    plant(tree, {"a": LARGE})
    kept = await registry.ingest_tree(tree)
    root = plant(
        settings.storage_local_root,
        {key_of(b"young"): b"young", key_of(b"old"): b"old", "notes/readme": b"mine", "blake3/00/00/not-a-key": b"?"},
    )
    os.utime(root / key_of(b"old"), (1, 1))
    report = await registry.collect_garbage()
    assert (report.orphans, report.deleted) == (ObjectTotals(1, 3), ObjectTotals(1, 3))
    assert (root / key_of(b"young")).exists()
    assert (await collect(registry)).orphans == ObjectTotals(1, 5)
    assert (root / "notes" / "readme").read_bytes() + (root / "blake3/00/00/not-a-key").read_bytes() == b"mine?"
    assert await content_of(registry, kept.package_id, "a") == LARGE
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "young", b"young")
    assert await content_of(registry, package, "young") == b"young"


async def test_an_entry_that_a_hand_deleted_from_the_tables_does_not_cost_its_bytes(
    settings: Settings, tree: Path
) -> None:
    plant(tree, {"a": LARGE, "b": SMALL})
    plant(tree / "other", {"a": LARGE, "c": SHARED})
    async with open_registry(settings) as registry:
        await registry.ingest_tree(tree / "other", name="kept")
        gone = await registry.ingest_tree(tree, name="gone")
        await delete(registry, gone.package_id)
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as database, database:
        database.execute("DELETE FROM artifact_files WHERE path_key = 'a'")
    async with open_registry(settings) as registry:
        before = await types_of(registry)
        with pytest.raises(ProjectionDamaged):
            await collect(registry)
        assert await types_of(registry) == before
        assert set(objects_in(settings.storage_local_root)) == hexes(LARGE, SMALL, SHARED)
        await registry.replay()
        await collect(registry)
        assert set(objects_in(settings.storage_local_root)) == hexes(LARGE, SHARED)


async def test_nobody_collects_in_a_root_that_two_stores_write_to(
    settings: Settings, tree: Path, tmp_path: Path
) -> None:
    """To the first store, the objects of the second one look like orphans."""
    plant(tree, {"a": LARGE, "b": SMALL})
    async with open_registry(settings) as registry:
        await registry.create_package("p")
    other = Settings(database_url=f"sqlite:///{tmp_path}/other.db", storage_local_root=settings.storage_local_root)
    async with open_registry(other) as registry:
        kept = (await registry.ingest_tree(tree)).package_id
    for each in (settings, other):
        async with open_registry(each, create=False) as registry:
            for dry_run in (False, True):
                with pytest.raises(CollectionRefused, match="doctor") as refused:
                    await registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0, dry_run=dry_run)
                assert refused.value.code == "root-shared"
    async with open_registry(other) as registry:
        assert await content_of(registry, kept, "a") == LARGE


async def test_a_store_that_only_reads_leaves_the_root_to_its_owner(
    settings: Settings, tree: Path, tmp_path: Path
) -> None:
    plant(tree, {"a": LARGE})
    async with open_registry(settings) as registry:
        await registry.ingest_tree(tree)
    other = Settings(database_url=f"sqlite:///{tmp_path}/other.db", storage_local_root=tmp_path / "elsewhere")
    async with open_registry(other):
        pass
    other = replace(other, storage_local_root=settings.storage_local_root)
    async with open_registry(other, create=False) as registry:
        with pytest.raises(CollectionRefused) as refused:
            await collect(registry)
        assert refused.value.code == "root-of-another-store"
    async with open_registry(settings) as registry:
        await collect(registry)


@on_both
async def test_collections_of_one_store_do_not_take_each_other_for_a_later_one(
    registry: Registry, settings: Settings, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another collection marks the root between the look at the head and the mark of this one."""
    plant(tree, {"a": LARGE})
    await delete(registry, (await registry.ingest_tree(tree)).package_id)
    probe, raced = Collection._checked, list[str]()  # pyright: ignore[reportPrivateUsage]

    async def late(self: Collection) -> tuple[Path, str, int]:
        found = await probe(self)
        if not raced:
            raced.append((await registry.create_package("other")).package_id)
            await collect(registry)
        return found

    monkeypatch.setattr(Collection, "_checked", late)
    await collect(registry)
    assert raced
    assert set(objects_in(settings.storage_local_root)) == set()


async def test_a_database_that_is_older_than_the_last_collection_collects_nothing(
    settings: Settings, tree: Path, tmp_path: Path
) -> None:
    plant(tree, {"a": LARGE, "b": SMALL})
    database = Path(settings.database_url.removeprefix("sqlite:///"))
    async with open_registry(settings) as registry:
        first = await registry.ingest_tree(tree)
        await delete(registry, first.package_id)
        await collect(registry, grace_s=3600)
    shutil.copy(database, tmp_path / "earlier.db")
    async with open_registry(settings) as registry:
        assert (await collect(registry)).deleted.objects == 2
    shutil.copy(tmp_path / "earlier.db", database)
    async with open_registry(settings) as registry:
        with pytest.raises(CollectionRefused) as refused:
            await collect(registry)
        assert refused.value.code == "store-rewound"


@on_both
async def test_a_backup_after_a_collection_has_no_flaws_and_restores(
    registry: Registry, tree: Path, tmp_path: Path
) -> None:
    plant(tree, {"a": LARGE, "c": SHARED})
    gone = await registry.ingest_tree(tree, name="gone")
    plant(tree, {"a": b"other"})
    kept = await registry.ingest_tree(tree, name="kept")
    await delete(registry, gone.package_id)
    await collect(registry)
    report = await registry.backup(tmp_path / "backup")
    assert report.flaws.missing_objects == 0
    async with open_registry(settings_in(tmp_path / "second")) as second:
        restored = await second.restore(tmp_path / "backup")
        assert restored.flaws.missing_objects == 0
        assert await content_of(second, kept.package_id, "c") == SHARED
        assert await types_of(second) == await types_of(registry)
        assert (await collect(second)).deleted == ObjectTotals()


@pytest.mark.slow
@on_both
async def test_collectors_and_ingests_run_together(settings: Settings, tmp_path: Path) -> None:
    """Every ingest ends, and every package that is not deleted is whole."""
    kept: dict[str, dict[str, bytes]] = {}
    ended = trio.Event()

    async def fill(registry: Registry, number: int) -> None:
        for turn in range(12):
            contents = {f"f{each}": b"%d" % ((turn + each) % 7) * 2000 for each in range(6)} | {"l": LARGE}
            tree = plant(tmp_path / f"tree-{number}-{turn}", contents)
            summary = await registry.ingest_tree(tree, name=f"{number}", files_cache=False)
            if turn % 3:
                await delete(registry, summary.package_id)
            else:
                kept[summary.package_id] = contents

    async def collect_always(registry: Registry) -> None:
        while not ended.is_set():
            await registry.collect_garbage(grace_s=0.0)

    async with open_registry(settings) as one, open_registry(settings) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect_always, one)
            nursery.start_soon(collect_always, two)
            async with trio.open_nursery() as ingests:
                for number in range(2):
                    ingests.start_soon(fill, (one, two)[number], number)
            ended.set()
        for package, contents in kept.items():
            assert {path: await content_of(one, package, path) for path in contents} == contents
        for _ in range(2):
            await collect(one)
        referenced = {content for contents in kept.values() for content in contents.values()}
        assert {name.partition(".")[0] for name in objects_in(settings.storage_local_root)} == hexes(*referenced)
        assert (await one.verify()).sound
        assert (await one.replay(check=True)).identical


class _Died(Exception):
    """The process of a collection dies here."""


class _Dying:
    """What a collection does to the log and the storage, until it dies."""

    def __init__(self, registry: Registry, steps: int) -> None:
        self._actors = registry._actors  # pyright: ignore[reportPrivateUsage]
        self._steps = steps

    def _step(self) -> None:
        if self._steps == 0:
            raise _Died
        self._steps -= 1

    async def ask(self, message: Any, **options: Any) -> Any:  # noqa: ANN401 - as `ActorRef.ask`
        self._step()
        return await self._actors.storage.ask(message, **options)

    async def commit(self, command: Command) -> Committed:
        self._step()
        return await self._actors.writer.ask(Commit(CommandRequest(new_id(), command, "gc", None)))


async def die_collecting(registry: Registry, root: Path, steps: int) -> None:
    """Collect until a step that is not done any more."""
    dying: Any = _Dying(registry, steps)
    store = registry._store  # pyright: ignore[reportPrivateUsage]
    collection = Collection(store, dying, root, dying.commit, grace_s=0.0, orphan_age_s=0.0, progress=None)
    with suppress(_Died):
        await collection.run()


CONTENTS = (b"", b"x", b"yy", SMALL * 100, LARGE)
_PACKAGES = st.integers(0, 2)
_PATHS = st.sampled_from(["a", "b", "d/c"])
STEPS = st.one_of(
    st.tuples(st.just("create")),
    st.tuples(st.just("put"), _PACKAGES, _PATHS, st.sampled_from(CONTENTS)),
    st.tuples(st.just("finalize"), _PACKAGES),
    st.tuples(st.just("delete"), _PACKAGES),
    st.tuples(st.just("collect")),
    st.tuples(st.just("die"), st.integers(0, 12)),
    st.tuples(st.just("late put"), st.sampled_from(CONTENTS)),
)


@pytest.mark.slow
@hypothesis_settings(max_examples=40)
@given(st.lists(STEPS, min_size=4, max_size=25))
def test_whatever_is_done_every_file_is_whole_and_nothing_else_is_left(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trio.run(_run, Path(directory), steps)


async def _run(directory: Path, steps: list[tuple[Any, ...]]) -> None:  # noqa: C901, PLR0912 - one case for each step
    settings = settings_in(directory / "store")
    root, source = Path(settings.storage_local_root), directory / "source"
    packages: dict[str, dict[str, bytes]] = {}
    open_ones = set[str]()

    async def check(registry: Registry) -> None:
        for package, files in packages.items():
            for path, content in files.items():
                assert await content_of(registry, package, path) == content

    async with open_registry(settings) as registry:
        for kind, *values in [("create",), *steps]:
            chosen = ""
            if values and packages and kind not in {"die", "late put"}:
                chosen = list(packages)[cast("int", values[0]) % len(packages)]
            match kind:
                case "create":
                    created = (await registry.create_package("p")).package_id
                    packages[created] = {}
                    open_ones.add(created)
                case "put" if chosen in open_ones:
                    source.write_bytes(values[2])
                    await registry.ingest_file(chosen, values[1], source, replace=True)
                    packages[chosen][values[1]] = values[2]
                case "finalize" if chosen:
                    await registry.finalize_package(chosen)
                    open_ones.discard(chosen)
                case "delete" if chosen:
                    await delete(registry, chosen)
                    open_ones.discard(chosen)
                    del packages[chosen]
                case "collect":
                    await collect(registry)
                case "die":
                    await die_collecting(registry, root, values[0])
                case "late put":
                    if not (root / key_of(values[0])).exists():
                        plant(root, {key_of(values[0]): values[0]})
                case _:
                    continue
            if kind in {"collect", "die"}:
                await check(registry)
        for _ in range(2):
            await collect(registry)
        await check(registry)
        held = {content for files in packages.values() for content in files.values()}
        assert {name.partition(".")[0] for name in objects_in(root)} == hexes(*held)
        assert (await registry.replay(check=True)).identical
        assert (await registry.verify()).sound
