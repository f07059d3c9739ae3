"""Annotations, schemas and lineage through the library."""

import os
import threading
from functools import partial
from pathlib import Path

import pytest
import trio

from artifactstore import PackageFilter, Registry, Settings, blocking, open_registry
from artifactstore.errors import (
    AnnotationNotFound,
    InvalidValue,
    MetadataKeyTaken,
    NotFinalized,
    SchemaNotFound,
    SchemaViolated,
)
from artifactstore_protocols.canonical import CanonicalValue
from integration.registry.samples import check_sound, plant, settings_in

SCHEMA: dict[str, CanonicalValue] = {
    "required": ["branch"],
    "properties": {"branch": {"type": "string"}, "score": {"maximum": 5}},
}


async def test_annotations_change_and_the_manifest_does_not(registry: Registry, tree: Path, tmp_path: Path) -> None:
    plant(tree, {"f": b"content"})
    stored = await registry.ingest_tree(tree, name="nightly", metadata={"branch": "main"})
    manifest = await registry.get_manifest_bytes("nightly")
    first = await registry.annotate_package("nightly", {"score": 4, "hosts": ["a"]}, principal="ann")
    assert first.annotations == {"score": 4, "hosts": ["a"]}
    again = await registry.annotate_package("nightly", {"score": True}, remove=["hosts"], principal="ben")
    assert (again.annotations, again.metadata) == ({"score": True}, {"branch": "main"})
    assert again == await registry.get_package(stored.package_id)
    assert await registry.get_manifest_bytes("nightly") == manifest
    with pytest.raises(MetadataKeyTaken):
        await registry.annotate_package("nightly", {"branch": "dev"})
    with pytest.raises(AnnotationNotFound):
        await registry.annotate_package("nightly", remove=["hosts"])
    with pytest.raises(InvalidValue, match="name at least one"):
        await registry.annotate_package("nightly")
    history = [(entry.principal, entry.detail) async for entry in registry.history("nightly")]
    assert history[-2:] == [
        ("ann", 'annotated hosts:=["a"], score:=4'),
        ("ben", "annotated score:=true; removed annotation 'hosts'"),
    ]
    await registry.backup(tmp_path / "backup")
    async with open_registry(settings_in(tmp_path / "second")) as second:
        await second.restore(tmp_path / "backup")
        assert await second.get_package("nightly") == again
    await check_sound(registry)


async def test_two_ingests_that_skip_files_of_one_package_note_them_all(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("first", "second", "third")
    for name in names:
        plant(tmp_path / name, {"secret": b"", name: b""})
        (tmp_path / name / "secret").chmod(0o600)
    scanning, allows = threading.Barrier(len(names)), os.access

    def denies(path: bytes, mode: int, **how: bool) -> bool:
        if not os.fsencode(path).endswith(b"secret"):
            return allows(path, mode, **how)
        scanning.wait()  # all of them have read the package, and none has noted anything
        return False

    monkeypatch.setattr(os, "access", denies)
    package = (await registry.create_package("p")).package_id
    async with trio.open_nursery() as nursery:
        for name in names:
            add = partial(registry.ingest_directory, prefix=name, skip_unreadable=True)
            nursery.start_soon(add, package, tmp_path / name)
    noted = (await registry.get_package(package)).annotations["artifactstore.unreadable"]
    assert noted == {"count": 3, "paths": [f"{name}/secret" for name in names]}


async def test_a_schema_is_checked_at_creation_and_at_finalization(registry: Registry) -> None:
    registered = await registry.register_metadata_schema("build", SCHEMA)
    assert await registry.get_metadata_schema("build@1") == await registry.get_metadata_schema("build") == registered
    await registry.register_metadata_schema("build", {"minProperties": 9})
    assert [each.version async for each in registry.list_metadata_schemas()] == [1, 2]
    with pytest.raises(SchemaViolated, match="/branch: expected a value, and there is none"):
        await registry.create_package("p", schema="build@1")
    for missing in ("build@3", "other"):
        with pytest.raises(SchemaNotFound):
            await registry.create_package("p", schema=missing)
        with pytest.raises(SchemaNotFound):
            await registry.get_metadata_schema(missing)
    for odd in ("build@", "build@x", "build@01", "@1", ""):
        with pytest.raises(InvalidValue, match="metadata schema"):
            await registry.create_package("p", schema=odd)
    created = await registry.create_package("p", schema="build@1", metadata={"branch": "main"})
    assert created.schema == "build@1"
    await registry.annotate_package("p", {"score": 6})
    with pytest.raises(SchemaViolated, match="/score: expected at most 5, found 6"):
        await registry.finalize_package("p")
    await registry.annotate_package("p", {"score": 5})
    await registry.finalize_package("p")
    await registry.annotate_package("p", {"score": 6})
    await check_sound(registry)


async def test_lineage_names_finalized_packages(registry: Registry, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    source = await registry.ingest_tree(tree, name="source")
    child = await registry.ingest_tree(tree, name="child", parents=["source", source.package_id])
    other = await registry.create_package("other", parents=["source", "child"])
    assert other.parents == {
        source.package_id: source.manifest_digest,
        child.package_id: child.manifest_digest,
    }
    found = [each.package_id async for each in registry.list_packages(PackageFilter(made_from="source"))]
    assert found == [other.package_id, child.package_id]
    with pytest.raises(NotFinalized):
        await registry.create_package("p", parents=["other"])
    await check_sound(registry)


def test_plain_programs_have_the_same(settings: Settings, tree: Path) -> None:
    plant(tree, {"f": b"content"})
    with blocking.open_registry(settings) as registry:
        registry.register_metadata_schema("build", SCHEMA)
        registry.ingest_tree(tree, name="p", schema="build", metadata={"branch": "main"})
        assert registry.annotate_package("p", {"score": 1}).annotations == {"score": 1}
        assert [each.name for each in registry.list_metadata_schemas()] == ["build"]
        found = list(registry.list_packages(PackageFilter(metadata={"score": 1, "branch": "main"})))
        assert [each.name for each in found] == ["p"]
