"""What the creation of a package would say: the same refusals, and the schema that the package would have.

Nothing is written. The log may change before the package is created, so the creation checks everything again.
"""

from collections.abc import Sequence

from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.messages import OpenPackage
from artifactstore_protocols.metadata_schema import SchemaNotFound, check_with_schema, parse_reference
from artifactstore_protocols.packages import NotFinalized
from artifactstore_protocols.records import MetadataSchema
from artifactstore_protocols.retention import classes_to_load, retention_class
from artifactstore_protocols.schema_requirements import applied_schema

__all__ = ["find_schema", "preview_package"]


async def find_schema(store: EventStore, schema: str) -> MetadataSchema:
    """Return a schema, given as `NAME` or `NAME@VERSION`, without the globs that require it.

    Raises:
        SchemaNotFound: there is no such schema.
    """
    name, version = parse_reference(schema)
    found = await store.metadata_schema(name, version)
    if found is None:
        latest = await store.metadata_schema(name)
        raise SchemaNotFound(schema, 0 if latest is None else latest.version)
    return found


async def _durations(store: EventStore) -> dict[str, int]:
    added = await store.retention_classes()
    return {each.name: each.duration_us for each in added if each.duration_us is not None}


async def preview_package(store: EventStore, package: OpenPackage) -> str | None:
    """Return the schema that a package would have, as `NAME@VERSION`; None for none.

    The fields of the package must be valid: see `ingest.check_creation`.

    Raises:
        ArtifactStoreError: the package would be refused.
    """
    loaded = classes_to_load(package.retention_class)
    retention_class(package.retention_class, await _durations(store) if loaded else {})
    given = None if package.schema is None else await _reference(store, package.schema)
    schema = applied_schema(package.name, given, await store.schema_requirements())
    if schema is not None:
        check_with_schema((await find_schema(store, schema)).schema, schema, package.metadata)
    await _check_parents(store, package.parents)
    return schema


async def _reference(store: EventStore, schema: str) -> str:
    found = await find_schema(store, schema)
    return f"{found.name}@{found.version}"


async def _check_parents(store: EventStore, parents: Sequence[str]) -> None:
    for parent in parents:
        if (await store.package(parent)).manifest_digest is None:
            raise NotFinalized(parent)
