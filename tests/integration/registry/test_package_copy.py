"""Copies of packages: the same tree in another store, every byte checked, and one copy however often it is made."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore import Registry, Settings, aio, blocking, open_registry
from artifactstore.errors import (
    CopyDiffers,
    IdempotencyConflict,
    NotFinalized,
    ObjectDamaged,
    SameStore,
    SchemaDiffers,
    SchemaRequired,
    StoreNotFound,
    TagProtected,
    UnknownRetentionClass,
)
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.records import IngestProgress
from integration.registry.samples import CHUNK, by_hand, check_sound, content_of, object_file, plant, settings_in
from stored_objects import overwrite

pytestmark = pytest.mark.slow

FILES = {"a": b"1", "dir/b": b"22", "twin": b"1", "bin/run": b"#!", "large": b"l" * (CHUNK + 5)}


class Interrupt(Exception):
    """What ends a copy here."""


@pytest.fixture
def other(tmp_path: Path) -> Settings:
    """The store to copy to, which does not exist yet."""
    return settings_in(tmp_path / "other")


async def nightly(registry: Registry, tree: Path) -> str:
    plant(tree, FILES)
    (tree / "bin" / "run").chmod(0o755)
    (tree / "dir" / "up").symlink_to("../a")
    (tree / "empty").mkdir()
    summary = await registry.ingest_tree(tree, name="nightly", retention="long", metadata={"branch": "main"})
    return summary.package_id


async def test_a_copy_has_all_but_its_id_and_times_in_common(registry: Registry, tree: Path, other: Settings) -> None:
    package = await nightly(registry, tree)
    told: list[IngestProgress] = []
    report = await registry.copy_package("nightly", other, principal="ci", progress=told.append)
    original = await registry.get_package(package)
    assert (report.copied_from, report.tree_digest, report.files) == (package, original.tree_digest, len(FILES))
    assert (report.new_objects, report.new_bytes) == (len(set(FILES.values())), sum(map(len, set(FILES.values()))))
    assert (told[-1].files, told[-1].bytes) == (len(FILES), sum(map(len, FILES.values())))
    async with open_registry(other) as copied:
        copy = await copied.get_package("nightly")
        assert copy.package_id == report.package_id != package
        same = "name", "retention_class", "metadata", "files", "links", "directories", "bytes", "tree_digest"
        assert [getattr(copy, name) for name in same] == [getattr(original, name) for name in same]
        assert [replace(each, package_id="", sequence=0) for each in await copied.list_files(copy.package_id)] == [
            replace(each, package_id="", sequence=0) for each in await registry.list_files(package)
        ]
        for path, content in FILES.items():
            assert await content_of(copied, copy.package_id, path) == content
        assert (await copied.verify(principal="ci")).mismatches == ()
        assert {stored.event.principal for stored in (await check_sound(copied))[1:]} == {"ci"}


async def test_a_repeated_copy_finds_the_first_one(registry: Registry, tree: Path, other: Settings) -> None:
    package = await nightly(registry, tree)
    first = await registry.copy_package(package, other)
    async with open_registry(other) as copied:
        events = len(await check_sound(copied))
    second = await registry.copy_package(package, other, principal="somebody else")
    assert second == replace(first, new_objects=0, new_bytes=0)
    async with open_registry(other) as copied:
        assert len(await check_sound(copied)) == events


async def test_a_copy_that_was_deleted_is_made_again(registry: Registry, tree: Path, other: Settings) -> None:
    await nightly(registry, tree)
    made = list[str]()
    for _ in range(3):
        report = await registry.copy_package("nightly", other)
        assert (await registry.copy_package("nightly", other, principal="another")).package_id == report.package_id
        made.append(report.package_id)
        async with open_registry(other) as copied:
            await copied.delete_package(report.package_id, reason="a test", before_expiry=True)
            await copied.collect_garbage(grace_s=0.0)
    assert len(set(made)) == 3


async def test_a_retention_class_that_the_other_store_does_not_have_is_added_there_first(
    registry: Registry, tree: Path, other: Settings
) -> None:
    await registry.add_retention_class("quarter", "90d")
    plant(tree, FILES)
    of_class = (await registry.ingest_tree(tree, name="of-class", retention="quarter")).package_id
    moved = (await registry.ingest_tree(tree, name="moved", retention="short")).package_id
    await registry.set_retention(moved, "quarter")
    for package in (of_class, moved):
        with pytest.raises(UnknownRetentionClass, match=r"/other/.* has no retention class 'quarter'; add it there"):
            await registry.copy_package(package, other)
    async with open_registry(other) as copied:
        assert [each.name async for each in copied.list_packages()] == []
        await copied.add_retention_class("quarter", "90d")
    for package in (of_class, moved):
        report = await registry.copy_package(package, other)
        async with open_registry(other) as copied:
            assert (await copied.get_package(report.package_id)).retention_class == "quarter"
            await check_sound(copied)


async def test_a_copy_is_kept_as_long_as_the_original_and_never_shorter(
    registry: Registry, tree: Path, other: Settings
) -> None:
    package = await nightly(registry, tree)
    await registry.extend_retention(package, "30d")
    extended = await registry.get_package(package)
    assert extended.retention_class == "custom"
    first = await registry.copy_package(package, other)

    async def kept() -> tuple[str, int | None]:
        async with open_registry(other) as copied:
            copy = await copied.get_package(first.package_id)
            assert (await copied.verify()).sound
            await check_sound(copied)
            return copy.retention_class, copy.retention_duration_us

    assert await kept() == ("custom", extended.retention_duration_us)
    await registry.set_retention(package, "short")
    assert (await registry.copy_package(package, other)).package_id == first.package_id
    assert await kept() == ("custom", extended.retention_duration_us)
    await registry.set_retention(package, "permanent")
    again = await registry.copy_package(package, other, principal="somebody else")
    assert again.package_id == first.package_id
    assert await kept() == ("permanent", None)


async def test_annotations_and_tags_are_carried_over_once(registry: Registry, tree: Path, other: Settings) -> None:
    package = await nightly(registry, tree)
    await registry.annotate_package(package, {"broken": True, "cause": "parser"})
    await registry.set_tag("good", package, protect=True)
    await registry.set_tag("latest-good", package)
    first = await registry.copy_package(package, other)
    assert (first.annotations, first.tags) == (2, ())
    async with open_registry(other) as copied:
        await copied.annotate_package(first.package_id, {"seen": "by others", "cause": "theirs"})
        elsewhere = (await copied.ingest_tree(tree, name="another")).package_id
        await copied.set_tag("latest-good", elsewhere)
    second = await registry.copy_package(package, other, tags=True)
    assert second == replace(first, new_objects=0, new_bytes=0, tags=("good", "latest-good"))
    async with open_registry(other) as copied:
        copy = await copied.get_package(first.package_id)
        assert copy.annotations == {"broken": True, "cause": "parser", "seen": "by others"}
        assert [(each.tag, each.package_id, each.protected) async for each in copied.list_tags()] == [
            ("good", copy.package_id, True),
            ("latest-good", copy.package_id, False),
        ]
        events = len(await check_sound(copied))
    assert await registry.copy_package(package, other, tags=True) == second
    async with open_registry(other) as copied:
        assert len(await check_sound(copied)) == events


async def test_the_schema_and_the_parents_are_taken_over(registry: Registry, tree: Path, other: Settings) -> None:
    plant(tree, {"a": b"1"})
    await registry.register_metadata_schema("build", {"type": "object"})
    strict: dict[str, CanonicalValue] = {
        "type": "object",
        "properties": {"branch": {"type": "string"}},
        "additionalProperties": False,
    }
    await registry.register_metadata_schema("build", strict)
    _source, library = [(await registry.ingest_tree(tree, name=name)).package_id for name in ("source", "library")]
    package = (
        await registry.ingest_tree(
            tree, name="build", schema="build", metadata={"branch": "main"}, parents=["source", "library"]
        )
    ).package_id
    await registry.annotate_package(package, {"broken": True})  # which the schema would not let pass
    there = (await registry.copy_package("source", other)).package_id
    first = await registry.copy_package(package, other)
    assert (first.schema, first.parents, first.parents_left_out) == ("build@2", (there,), (library,))
    async with open_registry(other) as copied:
        copy = await copied.get_package(first.package_id)
        assert (copy.schema, copy.annotations) == ("build@2", {"broken": True})
        assert copy.parents == {there: (await copied.get_package(there)).manifest_digest}
        schemas = [each async for each in copied.list_metadata_schemas()]
        assert schemas == [each async for each in registry.list_metadata_schemas()]
    await registry.copy_package("library", other)  # the finished copy stays as it is
    assert await registry.copy_package(package, other) == replace(first, new_objects=0, new_bytes=0)

    await registry.register_metadata_schema("build", {"type": "object", "required": ["commit"]})
    differing = await registry.ingest_tree(tree, name="build", schema="build", metadata={"commit": "c0ffee"})
    async with open_registry(other) as copied:
        await copied.register_metadata_schema("build", {"type": "object", "title": "theirs"})
        events = len(await check_sound(copied))
    with pytest.raises(SchemaDiffers, match="another schema build@3"):
        await registry.copy_package(differing.package_id, other)
    async with open_registry(other) as copied:
        assert len(await check_sound(copied)) == events
        assert (await copied.get_package("build")).package_id == first.package_id
        await copied.require_schema("lib*", "build@3")
        await copied.require_schema("build", "build@3")
    assert (await registry.copy_package("library", other)).schema is None
    with pytest.raises(SchemaRequired):
        await registry.copy_package(
            (await registry.ingest_tree(tree, name="build", schema="build@1")).package_id, other
        )


async def test_a_tag_that_the_other_store_protects_stays_and_so_does_the_copy(
    registry: Registry, tree: Path, other: Settings
) -> None:
    package = await nightly(registry, tree)
    await registry.set_tag("release-1", package)
    async with open_registry(other) as copied:
        theirs = (await copied.ingest_tree(tree, name="theirs")).package_id
        await copied.set_tag("release-1", theirs, protect=True)
    with pytest.raises(TagProtected):
        await registry.copy_package(package, other, tags=True)
    async with open_registry(other) as copied:
        assert (await copied.get_package("tag:release-1")).package_id == theirs
        assert (await copied.get_package("nightly")).status == "finalized"


async def test_packages_of_two_stores_are_compared(registry: Registry, tree: Path, other: Settings) -> None:
    package = await nightly(registry, tree)
    with pytest.raises(StoreNotFound):
        await registry.diff_packages(package, package, other=other)
    await registry.copy_package(package, other)
    assert await registry.diff_packages(package, "nightly", other=other) == []
    plant(tree, {"added": b"+", "a": b"changed"})
    await registry.ingest_tree(tree, name="nightly")
    assert [(each.kind, each.path) for each in await registry.diff_packages("nightly", "nightly", other=other)] == [
        ("changed", "a"),
        ("removed", "added"),
    ]


async def test_contents_that_the_other_store_has_are_not_read(
    registry: Registry, settings: Settings, tree: Path, other: Settings
) -> None:
    package = await nightly(registry, tree)
    async with open_registry(other) as copied:
        await copied.ingest_tree(tree, name="another name")
    for path in FILES:
        stored = object_file(settings, (await registry.get_file_record(package, path)).content_address)
        stored.unlink(missing_ok=True)
    report = await registry.copy_package(package, other)
    assert (report.new_objects, report.files) == (0, len(FILES))


async def test_an_interrupted_copy_is_continued(registry: Registry, tree: Path, other: Settings) -> None:
    for number in range(600):
        plant(tree, {f"many/{number}": b"%d" % number})
    package = await nightly(registry, tree)

    def stop(_done: IngestProgress) -> None:
        raise Interrupt

    with pytest.raises(Interrupt):
        await registry.copy_package(package, other, progress=stop)
    async with open_registry(other) as copied:
        begun = await copied.get_package("nightly")
        assert (begun.status, 0 < begun.files < 600) == ("open", True)
    report = await registry.copy_package(package, other)
    assert report.package_id == begun.package_id
    assert report.tree_digest == (await registry.get_package(package)).tree_digest


@pytest.mark.parametrize("path", ["a", "large"])
async def test_a_damaged_object_leaves_an_open_copy_that_is_continued_after_its_repair(
    registry: Registry, settings: Settings, tree: Path, other: Settings, path: str
) -> None:
    package = await nightly(registry, tree)
    stored = object_file(settings, (await registry.get_file_record(package, path)).content_address)
    overwrite(stored, b"?" * len(FILES[path]))
    with pytest.raises(ObjectDamaged):
        await registry.copy_package(package, other)
    async with open_registry(other) as copied:
        assert (await copied.get_package("nightly")).status == "open"
    overwrite(stored, FILES[path])
    await registry.copy_package(package, other)
    async with open_registry(other) as copied:
        assert (await copied.get_package("nightly")).status == "finalized"


async def test_a_copy_that_somebody_added_to_is_not_finalized(registry: Registry, tree: Path, other: Settings) -> None:
    package = await nightly(registry, tree)

    def stop(_done: IngestProgress) -> None:
        raise Interrupt

    with pytest.raises(Interrupt):
        await registry.copy_package(package, other, progress=stop)
    async with open_registry(other) as copied:
        await copied.ingest_file("nightly", "theirs", tree / "a")
    with pytest.raises(CopyDiffers):
        await registry.copy_package(package, other)
    async with open_registry(other) as copied:
        assert (await copied.get_package("nightly")).status == "open"


async def test_what_cannot_be_copied_makes_no_store(
    registry: Registry, settings: Settings, tree: Path, other: Settings, tmp_path: Path
) -> None:
    await registry.create_package("begun")
    with pytest.raises(NotFinalized):
        await registry.copy_package("begun", other)
    package = await nightly(registry, tree)
    by_hand(settings, "UPDATE artifact_files SET executable = NOT executable WHERE path_key = 'a'")
    with pytest.raises(CopyDiffers, match=package):
        await registry.copy_package(package, other)
    assert not (tmp_path / "other").exists()


async def test_a_store_is_not_copied_into_itself(registry: Registry, settings: Settings, tree: Path) -> None:
    package = await nightly(registry, tree)
    events = len(await registry.read_events())
    with pytest.raises(SameStore):
        await registry.copy_package(package, settings)
    assert len(await registry.read_events()) == events


async def test_a_key_that_somebody_else_used_is_a_conflict(registry: Registry, tree: Path, other: Settings) -> None:
    package = await nightly(registry, tree)
    key = f"copy of {(await registry.get_package(package)).manifest_digest}"
    async with open_registry(other) as copied:
        await copied.create_package("something else", idempotency_key=key)
    with pytest.raises(IdempotencyConflict):
        await registry.copy_package(package, other)


def test_every_kind_of_program_copies(settings: Settings, tree: Path, other: Settings) -> None:
    plant(tree, {"a": b"1"})
    with blocking.open_registry(settings) as registry:
        registry.ingest_tree(tree, name="nightly")
        first = registry.copy_package("nightly", other)
        assert registry.diff_packages("nightly", "nightly", other=other) == []

    async def on_asyncio() -> object:
        async with aio.open_registry(settings) as registry:
            assert await registry.diff_packages("nightly", "nightly", other=other) == []
            return await registry.copy_package("nightly", other)

    assert asyncio.run(on_asyncio()) == replace(first, new_objects=0, new_bytes=0)
