"""What one directory of a package contains, page by page, without reading what is below its directories.

Entries are read in the order of their path keys. What follows within a directory that is listed already is skipped by
one query, so a page costs at most a query for each of its items and reads at most `BATCH` entries with each.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.paths import PathRefused, check_path, path_key
from artifactstore_protocols.records import EntryKind, FileRecord

__all__ = ["BATCH", "Directory", "Item", "list_items"]

BATCH: Final = 100
_LAST: Final = "\U0010ffff"
"""Sorts after almost everything. A name that begins with it is listed all the same, maybe twice."""


class Item(Struct, frozen=True):
    """An item of a directory.

    Attributes:
        name: its name.
        path: its path in the package.
        kind: `file`, `link` or `directory`.
        entry: its record; None for a directory that has entries.
    """

    name: str
    path: str
    kind: EntryKind
    entry: FileRecord | None

    @property
    def cursor(self) -> str:
        """The text after which the next page begins."""
        return f"{self.path}/" if self.entry is None else self.path


class Directory(Struct, frozen=True):
    """A page of the items of a directory.

    Attributes:
        path: its path; empty for the root.
        items: the items, in the order of their path keys.
        next: the cursor of the next page; None on the last page.
    """

    path: str
    items: Sequence[Item]
    next: str | None


async def list_items(
    store: EventStore, package_id: str, directory: str, *, after: str = "", limit: int = BATCH
) -> Directory:
    """Return a page of the items of a directory. A directory that does not exist has none.

    Args:
        store: the tables.
        package_id: the id of the package.
        directory: the path of the directory; empty for the root.
        after: the cursor: `Directory.next` of the page before.
        limit: the most items.

    Raises:
        InvalidValue: the cursor is none.
        PackageGone: the package is gone.
    """
    prefix = f"{path_key(directory)}/" if directory else ""
    at = _start(after, prefix)
    depth = prefix.count("/")
    items: list[Item] = []
    last_key = ""
    while True:
        found = await store.file_page(package_id, after=at, limit=BATCH)
        for entry in found:
            at = path_key(entry.path)
            if not at.startswith(prefix):
                return Directory(directory, items, None)
            name_key, is_below, _rest = at[len(prefix) :].partition("/")
            key = f"{prefix}{name_key}"
            if is_below and key == last_key:
                continue
            if len(items) == limit:
                return Directory(directory, items, items[-1].cursor)
            items.append(_item(entry, depth, is_below=bool(is_below)))
            last_key = key
        if len(found) < BATCH:
            return Directory(directory, items, None)
        if at != last_key:
            at = max(at, f"{last_key}/{_LAST}")


def _start(after: str, prefix: str) -> str:
    """Return the path key after which a page begins."""
    if not after:
        return prefix
    try:
        key = path_key(check_path(after.removesuffix("/")))
    except PathRefused as error:
        raise InvalidValue("after", after[:60], "give the cursor of the page before") from error
    if not key.startswith(prefix):
        raise InvalidValue("after", after[:60], "give the cursor of the page before")
    return f"{key}/{_LAST}" if after.endswith("/") else key


def _item(entry: FileRecord, depth: int, *, is_below: bool) -> Item:
    parts = entry.path.split("/")
    path = "/".join(parts[: depth + 1])
    return Item(parts[depth], path, "directory", None) if is_below else Item(parts[depth], path, entry.kind, entry)
