"""The schema and the parents of a copy: a schema is registered in the other store, and parents are found there."""

from collections.abc import Mapping
from contextlib import suppress

from artifactstore.ingest.steps import Steps
from artifactstore.package_copy.filling import OtherStore
from artifactstore.package_preview import find_schema
from artifactstore_protocols.commands import RegisterMetadataSchema
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import PackageCreated
from artifactstore_protocols.events import IdempotencyConflict
from artifactstore_protocols.metadata_schema import parse_reference
from artifactstore_protocols.packages import PackageNotFound

__all__ = ["SchemaDiffers", "copy_key", "find_parents", "take_schema"]


class SchemaDiffers(ArtifactStoreError):
    """Two stores have different schemas of one name and version, so a package with it cannot be copied.

    Attributes:
        schema: the schema, as `NAME@VERSION`.
        store: the database of the other store.
    """

    schema: str
    store: str
    template = (
        "{self.store} has another schema {self.schema}, so the package cannot be copied there; "
        "compare `artifactstore schema show {self.schema}` of both stores, "
        "and give one of the schemas another name for later packages"
    )


def copy_key(manifest_digest: str) -> str:
    """Return the idempotency key of the copy of a package."""
    return f"copy of {manifest_digest}"


async def take_schema(store: EventStore, schema: str, other: OtherStore, principal: str) -> None:
    """Register a schema in the other store, after the earlier versions that it lacks.

    Raises:
        SchemaDiffers: the other store has another schema of this name and version.
    """
    name, version = parse_reference(schema)
    wanted = await find_schema(store, schema)
    latest = await other.store.metadata_schema(name)
    steps = Steps(other.store, other.storage, other.writer)
    for number in range(1 if latest is None else latest.version + 1, wanted.version + 1):
        lacking = await store.metadata_schema(name, number)
        if lacking is not None:
            with suppress(IdempotencyConflict):  # another copy registered it meanwhile
                await steps.commit(
                    RegisterMetadataSchema(name, lacking.schema), principal, f"copy of schema {name}@{number}"
                )
    if await other.store.metadata_schema(name, version) != wanted:
        raise SchemaDiffers(schema, other.store.name)


async def find_parents(parents: Mapping[str, str], other: OtherStore) -> Mapping[str, str]:
    """Return the ids of parents in the other store by their ids here, for those that it has.

    The other store has a parent if it has that very package, or its finished copy.

    Args:
        parents: the manifest digests of the parents, by their ids here.
        other: the other store.
    """
    found = dict[str, str]()
    for package_id, manifest_digest in parents.items():
        with suppress(PackageNotFound):
            if (await other.store.package(package_id)).manifest_digest == manifest_digest:
                found[package_id] = package_id
                continue
        for stored in await other.store.events_of_key(copy_key(manifest_digest)):
            created = stored.decode()
            if isinstance(created, PackageCreated):
                copy = await other.store.package(created.package_id)
                if copy.manifest_digest is not None:
                    found[package_id] = copy.package_id
    return found
