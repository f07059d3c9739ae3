"""What every export reads: entries, whose paths it checks, and objects."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from artifactstore_protocols.links import check_target, escaping_links
from artifactstore_protocols.paths import PathRefused, check_path
from artifactstore_protocols.records import FileRecord
from artifactstore_protocols.storage import StorageError

__all__ = ["Read", "ReadMany", "check_entries"]

type Read = Callable[[str], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens the object of a content address for reading. A damaged object raises an error before its last bytes."""

type ReadMany = Callable[[Sequence[str]], Awaitable[Sequence[bytes | StorageError]]]
"""Reads and verifies the objects of many content addresses."""


def check_entries(entries: Sequence[FileRecord]) -> None:
    """Check the paths and links of entries again: their tables may be edited, or come from a log written by hand.

    Raises:
        PathRefused: a package may not hold the path or the link target of an entry.
    """
    for entry in entries:
        check_path(entry.path)
    links = {entry.path: entry.target for entry in entries if entry.kind == "link"}
    for path, link_target in links.items():
        check_target(path, link_target)
    for path in escaping_links(links, (entry.path for entry in entries if entry.kind != "link")):
        raise PathRefused(path, f"the link leads to {links[path][:80]!r}, out of the tree")
