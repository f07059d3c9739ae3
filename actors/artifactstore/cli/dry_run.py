"""The dry run of an ingest: what it would store, and every refusal that it would meet before it stores anything."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from artifactstore.cli.runner import check_package, class_named, on_store, on_trio, preview
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.retention import RETENTION_CLASSES

if TYPE_CHECKING:
    from artifactstore.registry import Registry
    from artifactstore_protocols.metadata import Metadata
    from artifactstore_protocols.records import IngestPreview
    from artifactstore_protocols.sources import SourceTree

__all__ = ["preview_ingest"]


def preview_ingest(
    tree: "SourceTree",
    name: str | None,
    retention: str,
    metadata: "Metadata",
    schema: str | None,
    parents: Sequence[str],
    key: str | None,
) -> "IngestPreview":
    """Return what an ingest would store. A store is not needed; one that exists says which schema the package needs.

    Raises:
        ArtifactStoreError: the ingest would be refused. Sources that have no name in common are not.
    """
    on_trio(lambda: check_package(name or "unnamed", retention, metadata, key))
    found = preview(tree)
    name = name or _default_name(tree)
    if name is not None:
        with class_named(retention):
            _in_store(
                lambda registry: registry.preview_package(
                    name, retention=retention, metadata=metadata, schema=schema, parents=parents
                ),
                needed=bool(schema or parents) or retention not in RETENTION_CLASSES,
            )
    return found


def _default_name(tree: "SourceTree") -> str | None:
    from artifactstore.ingest.sources import default_name  # noqa: PLC0415 - it loads trio

    with suppress(InvalidValue):
        return default_name(tree.sources)
    return None


def _in_store(ask: "Callable[[Registry], Awaitable[object]]", *, needed: bool) -> None:
    from artifactstore.database.errors import StoreNotFound  # noqa: PLC0415 - it loads the database

    try:
        on_store(ask)
    except StoreNotFound:
        if needed:  # a new store has neither schemas nor packages
            raise
