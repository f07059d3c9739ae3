"""The marker of a local root, as a collection checks and writes it; see `artifactstore_protocols.root_markers`."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from artifactstore.backends.os_errors import translated_os_errors
from artifactstore.backends.root_marker import read_marker, update_marker
from artifactstore_protocols.root_markers import RootMarker, collecting

__all__ = ["check_marker", "mark_collected", "marker_of"]

_BACKEND_ID = "local"


def marker_of(root: Path) -> RootMarker | None:
    """Return the marker of a root; None if no store has claimed the root.

    Raises:
        InvalidValue: the marker is damaged.
        StorageDenied, StorageFailed: the marker cannot be read.
    """
    with translated_os_errors(_BACKEND_ID, "reading the marker of the root"):
        return read_marker(root)


def check_marker(root: Path, store_id: str, known: Mapping[int, str]) -> None:
    """Check that a store may collect in a root, and change nothing; for `known`, see `root_markers.collecting`.

    Raises:
        CollectionRefused: it may not.
        InvalidValue: the marker is damaged.
        StorageDenied, StorageFailed: the marker cannot be read.
    """
    collecting(store_id, known, marker_of(root))


def mark_collected(root: Path, store_id: str, known: Mapping[int, str]) -> None:
    """Write durably that a store deletes what its log allows, after checking that it may; see `check_marker`.

    Raises:
        CollectionRefused: it may not.
        InvalidValue: the marker is damaged.
        StorageDenied, StorageFull, StorageFailed: the marker cannot be read or written.
    """
    with translated_os_errors(_BACKEND_ID, "marking the root"):
        update_marker(root, partial(collecting, store_id, known))
