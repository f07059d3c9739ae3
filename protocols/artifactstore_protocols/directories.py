"""The content of one directory of a package, as `ls` shows it: the entries in it, and the directories below it."""

from collections.abc import Iterable

from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import DirectoryItem, FileRecord

__all__ = ["list_directory"]


def list_directory(entries: Iterable[FileRecord], path: str) -> list[DirectoryItem] | None:
    """Return the items of a directory, sorted by name; None if the package has nothing at this path.

    The path of a file or a link gives that one item. An empty directory has no items.

    Args:
        entries: all entries of the package.
        path: the directory; empty for the root of the package. A slash at its end is ignored.
    """
    wanted = path_key(path.rstrip("/"))
    prefix = f"{wanted}/" if wanted else ""
    items: dict[str, DirectoryItem] = {}
    found = not wanted
    for entry in entries:
        key = path_key(entry.path)
        if key == wanted:
            return [] if entry.kind == "directory" else [_item(entry, entry.path)]
        if not key.startswith(prefix):
            continue
        found = True
        name = key[len(prefix) :].partition("/")[0]
        shown = entry.path if key == prefix + name else prefix + name
        if key == prefix + name and entry.kind != "directory":
            items[name] = _item(entry, shown)
        else:
            known = items.get(name) or DirectoryItem(shown, "directory", 0, 0)
            counted = entry.kind != "directory"
            items[name] = DirectoryItem(shown, "directory", known.bytes + entry.size_bytes, known.entries + counted)
    return [items[name] for name in sorted(items)] if found else None


def _item(entry: FileRecord, path: str) -> DirectoryItem:
    return DirectoryItem(
        path, entry.kind, entry.size_bytes, 1, entry.executable, entry.media_type, entry.content_address, entry.target
    )
