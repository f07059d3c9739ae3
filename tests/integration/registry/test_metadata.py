"""Metadata schemas, retention as it is recorded, histories, lists: what the log says beside files."""

from pathlib import Path

import pytest

from artifactstore import Registry
from artifactstore_protocols.canonical import NotEncodable
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.retention import RETENTION_CLASSES
from integration.registry.samples import add, check_sound, plant, stream_of, whole_log


@pytest.mark.slow
async def test_a_schema_gets_the_next_version_of_its_name(registry: Registry) -> None:
    first = await registry.register_metadata_schema(
        "build", {"type": "object", "minProperties": 1, "examples": [True, None]}, principal="ci"
    )
    assert (first.name, first.version, first.schema) == (
        "build",
        1,
        '{"examples":[true,null],"minProperties":1,"type":"object"}',
    )
    other = await registry.register_metadata_schema("model", {})
    second = await registry.register_metadata_schema("build", {"type": "object"})
    assert (other.version, second.version) == (1, 2)
    log = await check_sound(registry)
    assert [stored.event.type for stored in log] == ["v1.log.created", *["v1.metadata_schema.registered"] * 3]
    assert [(stored.event.subject, stored.event.principal) for stored in log][1:3] == [
        ("build", "ci"),
        ("model", "anonymous"),
    ]
    rebuilt = await registry.replay()
    assert (rebuilt.identical, rebuilt.repaired_rows) == (True, 0)


async def test_a_schema_that_json_cannot_hold_is_refused(registry: Registry) -> None:
    with pytest.raises(NotEncodable):
        await registry.register_metadata_schema("build", {"maximum": 1.5})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotEncodable):
        await registry.register_metadata_schema("build", {"text": "\ud800"})
    with pytest.raises(InvalidValue):
        await registry.register_metadata_schema(" build", {})
    assert await whole_log(registry) == []


@pytest.mark.parametrize("name", RETENTION_CLASSES)
async def test_retention_begins_when_a_package_is_finalized(registry: Registry, name: str) -> None:
    opened = await registry.create_package("p", retention=name)
    promised = RETENTION_CLASSES[name].duration_us
    assert (opened.retention_class, opened.retention_duration_us, opened.expires_at_us) == (name, promised, None)
    await registry.finalize_package(opened.package_id)
    finalized = await registry.get_package(opened.package_id)
    assert finalized.finalized_at_us is not None
    assert finalized.expires_at_us == (None if promised is None else finalized.finalized_at_us + promised)


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("", {}),
        (" p", {}),
        ("p\n", {}),
        ("x" * 201, {}),
        ("p", {"": "v"}),
        ("p", {"k": "v" * 4097}),
        ("p", {"k": "\ud800"}),
    ],
)
async def test_names_and_metadata_that_cannot_be_are_refused(
    registry: Registry, name: str, metadata: dict[str, str]
) -> None:
    with pytest.raises(InvalidValue):
        await registry.create_package(name, metadata=metadata)
    assert await whole_log(registry) == []


async def test_an_audit_says_who_did_what_and_when(registry: Registry, tree: Path) -> None:
    package = (await registry.create_package("p", principal="alice")).package_id
    await registry.ingest_file(package, "f", stream_of(b"one"), principal="bob")
    await registry.ingest_file(package, "f", stream_of(b"three"), replace=True, principal="carol")
    await registry.finalize_package(package, principal="dave")
    await registry.ingest_tree(plant(tree, {"x": b"x"}), name="other", principal="eve")
    entries = [entry async for entry in registry.history(package)]
    assert [(entry.principal, entry.detail.split(",")[0]) for entry in entries] == [
        ("alice", "created 'p'"),
        ("bob", "added 'f'"),
        ("carol", "replaced 'f'"),
        ("dave", "finalized"),
    ]
    log = await whole_log(registry)
    assert [entry.recorded_at_us for entry in entries] == [
        log[entry.sequence - 1].event.recorded_at_us for entry in entries
    ]
    everything = [entry async for entry in registry.history()]
    assert [entry.sequence for entry in everything] == list(range(1, 13))  # with the end of the replaced content
    assert [entry for entry in everything if entry in entries] == entries
    with pytest.raises(PackageNotFound):
        _ = [entry async for entry in registry.history("no such package")]


async def test_lists_are_complete_over_many_pages(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.registry.schemas.PAGE", 3)
    monkeypatch.setattr("artifactstore.finding._PAGE", 3)
    packages = [(await registry.create_package(f"p{number}")).package_id for number in range(7)]
    assert [package.package_id async for package in registry.list_packages(reverse=True)] == packages
    after = [package.package_id async for package in registry.list_packages(after=packages[5], limit=4)]
    assert after == packages[4:0:-1]
    for number in range(7):
        await add(registry, packages[0], f"f{number}", b"")
    assert len([entry async for entry in registry.history(packages[0])]) == 8
    assert len([entry async for entry in registry.history()]) == 16
