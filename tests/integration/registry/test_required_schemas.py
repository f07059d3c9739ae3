"""Schemas that are required for packages of a name."""

from collections.abc import Mapping

import pytest

from artifactstore import Registry
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.metadata_schema import SchemaNotFound, SchemaViolated
from artifactstore_protocols.packages import NotFinalized
from artifactstore_protocols.schema_requirements import SchemaNotRequired, SchemaRequired
from integration.registry.samples import check_sound

COMMIT: Mapping[str, CanonicalValue] = {"required": ["commit"]}


@pytest.fixture
async def required(registry: Registry) -> Registry:
    """A store that requires the first of two versions of a schema."""
    await registry.register_metadata_schema("build", COMMIT)
    await registry.register_metadata_schema("build", {})
    await registry.require_schema("nightly*", "build@1", principal="ann")
    return registry


async def test_a_package_gets_the_schema_that_its_name_requires(required: Registry) -> None:
    made = await required.create_package("nightly-linux", metadata={"commit": "4f2a"})
    assert made.schema == "build@1"
    assert (await required.create_package("nightly", schema="build@1", metadata={"commit": ""})).schema == "build@1"
    assert (await required.create_package("weekly")).schema is None
    assert (await required.create_package("weekly", schema="build")).schema == "build@2"
    with pytest.raises(SchemaViolated):
        await required.create_package("nightly")
    with pytest.raises(SchemaRequired) as refused:
        await required.create_package("nightly", schema="build", metadata={"commit": ""})
    assert str(refused.value) == (
        "a package named 'nightly' needs schema build@1 (for 'nightly*'), not build@2; leave out the schema"
    )
    with pytest.raises(SchemaNotFound):
        await required.create_package("nightly", schema="build@3", metadata={"commit": ""})
    await required.finalize_package(made.package_id)
    await check_sound(required)


async def test_a_requirement_holds_until_it_is_replaced_or_ended(required: Registry) -> None:
    log = await check_sound(required)
    assert (await required.require_schema("nightly*", "build@1", principal="ben")).required_for == ("nightly*",)
    assert await check_sound(required) == log
    replaced = await required.require_schema("nightly*", "build")
    assert (replaced.version, replaced.required_for) == (2, ("nightly*",))
    assert (await required.create_package("nightly")).schema == "build@2"
    await required.require_schema("*", "build@2")
    listed = [(each.version, each.required_for) async for each in required.list_metadata_schemas()]
    assert listed == [(1, ()), (2, ("*", "nightly*"))]
    assert (await required.get_metadata_schema("build")).required_for == ("*", "nightly*")
    await required.unrequire_schema("nightly*")
    with pytest.raises(SchemaNotRequired):
        await required.unrequire_schema("nightly*")
    await required.unrequire_schema("*")
    assert (await required.create_package("nightly")).schema is None
    with pytest.raises(SchemaNotFound):
        await required.require_schema("nightly", "never")
    with pytest.raises(InvalidValue):
        await required.require_schema("[a", "build")
    told = [entry.detail async for entry in required.history() if "required" in entry.detail]
    assert told[0] == "required metadata schema build@1 for packages named 'nightly*'"
    assert told[-1] == "no longer required a metadata schema for packages named '*'"
    await check_sound(required)


async def test_globs_that_match_a_name_must_agree(required: Registry) -> None:
    await required.require_schema("*-linux", "build@2")
    for schema in (None, "build@1", "build@2"):
        with pytest.raises(SchemaRequired, match=r"several schemas, build@2 .*, build@1 .*schema require`, or end"):
            await required.create_package("nightly-linux", schema=schema, metadata={"commit": ""})
    assert (await required.create_package("nightly", metadata={"commit": ""})).schema == "build@1"
    await required.require_schema("*-linux", "build@1")
    assert (await required.create_package("nightly-linux", metadata={"commit": ""})).schema == "build@1"


async def test_a_preview_says_what_the_creation_would(required: Registry) -> None:
    assert await required.preview_package("nightly", metadata={"commit": ""}) == "build@1"
    assert await required.preview_package("weekly") is None
    assert await required.preview_package("weekly", schema="build") == "build@2"
    opened = await required.create_package("weekly")
    refusals: dict[type[ArtifactStoreError], tuple[str, str | None]] = {
        SchemaViolated: ("nightly", None),
        SchemaRequired: ("nightly", "build"),
        SchemaNotFound: ("weekly", "build@3"),
        InvalidValue: ("nightly@1", None),
    }
    before = await check_sound(required)
    for error, (name, schema) in refusals.items():
        for method in (required.preview_package, required.create_package):
            with pytest.raises(error):
                await method(name, schema=schema)
    for method in (required.preview_package, required.create_package):
        with pytest.raises(NotFinalized):
            await method("weekly", parents=[opened.package_id])
    assert await check_sound(required) == before
