"""Answers that are made from what was just committed say what the views say."""

from pathlib import Path

from artifactstore import Registry
from integration.registry.samples import stream_of


async def test_creating_answers_with_the_package_that_the_views_then_have(registry: Registry) -> None:
    created = await registry.create_package(
        "nightly", retention="permanent", metadata={"branch": "main"}, principal="ci"
    )
    assert created == await registry.get_package(created.package_id)
    assert (created.status, created.version, created.created_by) == ("open", 1, "ci")


async def test_a_repeated_creation_answers_with_the_package_as_it_is_by_now(registry: Registry) -> None:
    first = await registry.create_package("nightly", idempotency_key="k")
    await registry.ingest_file(first.package_id, "a", stream_of(b"a"))
    again = await registry.create_package("nightly", idempotency_key="k")
    assert again == await registry.get_package(first.package_id)
    assert (again.package_id, again.files) == (first.package_id, 1)


async def test_ingesting_answers_with_the_file_that_the_views_then_have(registry: Registry) -> None:
    package = (await registry.create_package("nightly")).package_id
    added = await registry.ingest_file(package, "bin/tool.sh", stream_of(b"#!/bin/sh\n"), executable=True)
    assert added == await registry.get_file_record(package, "bin/tool.sh")
    replaced = await registry.ingest_file(package, "bin/tool.sh", stream_of(b"other"), replace=True)
    assert replaced == await registry.get_file_record(package, "bin/tool.sh")


async def test_finalizing_answers_the_same_the_first_time_and_the_next(registry: Registry, tree: Path) -> None:
    (tree / "a").write_bytes(b"a")
    package = (await registry.create_package("nightly")).package_id
    await registry.ingest_directory(package, tree)
    finalized = await registry.finalize_package(package)
    assert finalized == await registry.finalize_package(package)
    record = await registry.get_package(package)
    assert (finalized.manifest_digest, finalized.tree_digest, finalized.sequence, finalized.files, finalized.bytes) == (
        record.manifest_digest,
        record.tree_digest,
        record.finalized_sequence,
        1,
        1,
    )
