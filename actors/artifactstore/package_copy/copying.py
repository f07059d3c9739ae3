"""The steps of a copy: create it, fill it, compare it, finalize it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import asdict

from artifactstore.ingest.steps import Steps
from artifactstore.package_copy.filling import Filling, OtherStore
from artifactstore.package_copy.lineage import copy_key, find_parents, take_schema
from artifactstore.package_copy.original import Original, check_tree_digest
from artifactstore.package_export.reading import Read, ReadMany
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import PackageCreated
from artifactstore_protocols.events import IdempotencyConflict
from artifactstore_protocols.life_cycle import CUSTOM, SetRetention
from artifactstore_protocols.packages import PackageFinalizedAlready
from artifactstore_protocols.records import CopyReport, IngestProgress, PackageRecord
from artifactstore_protocols.retention import RETENTION_CLASSES, UnknownRetentionClass

__all__ = ["SameStore", "copy_package"]


class SameStore(ArtifactStoreError):
    """A store would be its own source or its own target.

    Attributes:
        store: the database of the store.
    """

    store: str
    template = "{self.store} is the database of both stores; name another store"


async def copy_package(
    store: EventStore,
    source: Original,
    other: OtherStore,
    read: Read,
    read_many: ReadMany,
    principal: str,
    progress: Callable[[IngestProgress], None] | None,
    *,
    tags: bool,
) -> CopyReport:
    """Copy a package to another store, and with `tags` the tags that name it.

    Raises:
        SameStore: both stores are one.
        UnknownRetentionClass: the other store does not have the class.
        SchemaDiffers: the other store has another schema of the same name and version.
        SchemaRequired, SchemaViolated: the other store requires another schema for this name.
        CopyDiffers: the copy does not have the tree digest. It stays open.
        ObjectMissing, ObjectDamaged: an object cannot be copied. The copy stays open, and a repeated call continues it.
        TagProtected: the other store has protected one of the tags for another package. The copy is finalized.
    """
    package, entries = source.package, source.entries
    store_id = (await store.probe()).store_id
    if store_id is not None and store_id == (await other.store.probe()).store_id:
        raise SameStore(store.name)
    await _check_classes((source.retention_class, package.retention_class), other)
    if package.schema is not None:
        await take_schema(store, package.schema, other, principal)
    parents = await find_parents(package.parents, other)
    opened = await _opened(source, other, parents, principal)
    copy = Filling(opened.package_id, entries, other, read, read_many, principal, progress)
    with suppress(PackageFinalizedAlready):  # by another call that made the same copy
        await copy.fill()
    _record, copied = await other.store.files(opened.package_id)
    await check_tree_digest(opened.package_id, copied, source.tree_digest)
    # A finalization compares annotations with the schema, and these may be later ones.
    if opened.schema is None:
        await _annotate(package, other, opened.package_id, principal)
    finalized = await other.registry.finalize_package(opened.package_id, principal=principal)
    if opened.schema is not None:
        await _annotate(package, other, opened.package_id, principal)
    await _keep_as_long(package, other, opened.package_id, principal)
    carried = await _carry_tags(store, package, other, opened.package_id, principal) if tags else ()
    return CopyReport(
        **asdict(finalized),
        copied_from=package.package_id,
        new_objects=copy.new_objects,
        new_bytes=copy.new_bytes,
        annotations=len(package.annotations),
        tags=carried,
        schema=opened.schema,
        parents=tuple(sorted(opened.parents)),
        parents_left_out=tuple(sorted(each for each in package.parents if parents.get(each) not in opened.parents)),
    )


async def _check_classes(names: Iterable[str], other: OtherStore) -> None:
    """Check that the other store has the retention classes of the copy, before anything is copied."""
    has = {CUSTOM, *RETENTION_CLASSES, *(each.name for each in await other.store.retention_classes())}
    for name in names:
        if name not in has:
            raise UnknownRetentionClass(name, other.store.name)


async def _annotate(package: PackageRecord, other: OtherStore, copy_id: str, principal: str) -> None:
    if package.annotations:
        await other.registry.annotate_package(copy_id, package.annotations, principal=principal)


async def _keep_as_long(package: PackageRecord, other: OtherStore, copy_id: str, principal: str) -> None:
    """Keep the copy as long after its finalization as the original. It is never kept shorter than it is now."""
    duration_us, copy = package.retention_duration_us, await other.store.package(copy_id)
    now_us = copy.retention_duration_us
    if now_us is None or (duration_us is not None and duration_us <= now_us):
        return
    custom_us = duration_us if package.retention_class == CUSTOM else None
    command = SetRetention(copy_id, package.retention_class, custom_us)
    await Steps(other.store, other.storage, other.writer).commit(command, principal, None)


async def _carry_tags(
    store: EventStore, package: PackageRecord, other: OtherStore, copy_id: str, principal: str
) -> Sequence[str]:
    """Set the tags of the original to the copy, with their protection, and return them."""
    carried = list[str]()
    for name in package.tags:
        tag = await store.tag(name)
        if tag is None or tag.package_id != package.package_id:
            continue  # somebody moved it meanwhile
        # None: a tag that only the other store protects stays protected.
        await other.registry.set_tag(name, copy_id, protect=tag.protected or None, principal=principal)
        carried.append(name)
    return tuple(carried)


async def _opened(source: Original, other: OtherStore, parents: Mapping[str, str], principal: str) -> PackageRecord:
    """Create the copy, or find the one that an earlier call created, also for another principal.

    A copy that was deleted or has expired there is made again. Its key follows from the one that is gone.

    Raises:
        IdempotencyConflict: somebody used the key for something else.
    """
    key = copy_key(source.manifest_digest)
    opened = await _opened_by(key, source, other, parents, principal)
    while opened.is_gone:
        opened = await _opened_by(f"{key} after {opened.package_id}", source, other, parents, principal)
    return opened


async def _opened_by(
    key: str, source: Original, other: OtherStore, parents: Mapping[str, str], principal: str
) -> PackageRecord:
    package = source.package
    try:
        created = await other.registry.create_package(
            package.name,
            retention=source.retention_class,
            metadata=package.metadata,
            schema=package.schema,
            parents=sorted(parents.values()),
            principal=principal,
            idempotency_key=key,
        )
    except IdempotencyConflict as conflict:  # the principal and the parents are a part of what a key means
        found = await other.store.read_events(after=conflict.sequence - 1, limit=1)
        first = found[0].decode() if found else None
        if not isinstance(first, PackageCreated):
            raise
        made = first.name, first.retention_class, dict(first.metadata)
        if made != (package.name, source.retention_class, dict(package.metadata)):
            raise
        return await other.store.package(first.package_id)
    return await other.store.package(created.package_id)
