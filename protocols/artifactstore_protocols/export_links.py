"""Symbolic links of an export that are not kept as links: left out, refused, or replaced by what they lead to.

A followed link is resolved in the whole package, also if the export takes a part of it. The files and directories that
it leads to stand at its path. Links below such a directory are followed as well, from where they are in the package.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.package_tree import Dead, PackageTree, Place
from artifactstore_protocols.paths import listed_paths, path_key
from artifactstore_protocols.records import FileRecord

__all__ = ["FOLLOWED_MAX", "without_links"]

FOLLOWED_MAX: Final = 1_000_000
"""The maximum number of entries of an export in which links are followed: each link to a directory repeats it."""


def without_links(
    taken: Sequence[FileRecord],
    policy: LinkPolicy,
    package: Callable[[], PackageTree],
    *,
    entries_max: int = FOLLOWED_MAX,
) -> list[FileRecord]:
    """Return the entries of an export with its links treated by a policy.

    Args:
        taken: the entries that the export takes.
        policy: what to do with links; `KEEP` changes nothing.
        package: gives all entries of the package. It is called only to follow links.
        entries_max: the maximum number of entries in the result.

    Raises:
        InvalidValue: links are refused, or cannot be followed. All of them are named.
    """
    links = [entry.path for entry in taken if entry.kind == "link"]
    if policy is LinkPolicy.KEEP or not links:
        return list(taken)
    if policy is LinkPolicy.REFUSE:
        raise InvalidValue("links", policy.value, f"there are links: {listed_paths(links)}; follow or skip them")
    if policy is LinkPolicy.SKIP:
        return [entry for entry in taken if entry.kind != "link"]
    return _followed(taken, package(), entries_max)


def _followed(taken: Iterable[FileRecord], tree: PackageTree, entries_max: int) -> list[FileRecord]:
    found: list[FileRecord] = []
    flaws: list[str] = []
    # Each link that waits: the entry, its path in the export, and the directories through which it was reached.
    waiting: list[tuple[FileRecord, str, tuple[str, ...]]] = [
        (entry, entry.path, ()) for entry in reversed(list(taken))
    ]
    while waiting:
        entry, path, through = waiting.pop()
        if entry.kind != "link":
            found.append(replace(entry, path=path))
        elif isinstance(place := tree.resolve(entry.path), Dead):
            flaws.append(f"{path} -> {entry.target} leads to nothing in the package")
        elif place.entry is not None:
            found.append(replace(place.entry, path=path))
        elif any(_inside(each, place.path) for each in (entry.path, *through)):
            flaws.append(f"{path} -> {entry.target} leads to a directory that contains it")
        else:
            waiting += ((each, f"{path}/{below}", (*through, entry.path)) for below, each in _below(tree, place))
        if len(found) + len(waiting) + len(flaws) > entries_max:
            raise InvalidValue("links", "follow", f"there would be more than {entries_max} entries; skip links")
    if flaws:
        raise InvalidValue("links", "follow", f"{listed_paths(flaws)}; skip links, or keep them")
    return found


def _inside(path: str, directory: str) -> bool:
    return not directory or path_key(path).startswith(f"{directory}/")


def _below(tree: PackageTree, directory: Place) -> Iterator[tuple[str, FileRecord]]:
    """Yield the relative path and the entry of everything below a directory."""
    above = f"{directory.path}/" if directory.path else ""
    for path in tree.below(directory):
        place = tree.resolve(above + path, follow=False)
        if isinstance(place, Place) and place.entry is not None:
            yield path, place.entry
