"""The marker of a local root, as a collection checks and writes it; see `artifactstore_protocols.root_markers`."""

from functools import partial
from pathlib import Path

from artifactstore.backends.os_errors import translated_os_errors
from artifactstore.backends.root_marker import read_marker, update_marker
from artifactstore_protocols.root_markers import collecting

__all__ = ["check_marker", "mark_collected"]

_BACKEND_ID = "local"


def check_marker(root: Path, store_id: str, head: int) -> None:
    """Check that a store may collect in a root, and change nothing.

    Raises:
        CollectionRefused: it may not.
        InvalidValue: the marker is damaged.
        StorageDenied, StorageFailed: the marker cannot be read.
    """
    with translated_os_errors(_BACKEND_ID, "reading the marker of the root"):
        collecting(store_id, head, read_marker(root))


def mark_collected(root: Path, store_id: str, head: int) -> None:
    """Write durably that a store deletes what its log allows up to `head`, after checking that it may.

    Raises:
        CollectionRefused: it may not.
        InvalidValue: the marker is damaged.
        StorageDenied, StorageFull, StorageFailed: the marker cannot be read or written.
    """
    with translated_os_errors(_BACKEND_ID, "marking the root"):
        update_marker(root, partial(collecting, store_id, head))
