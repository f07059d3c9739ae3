"""Which entries of a package an export takes, and the paths that they get.

A subtree is exported without the path above it, and a file or a link by its name alone. `paths` are paths of the
package and not of the subtree. `strip_components` removes names from the beginning of the remaining paths; a path that
has no other name vanishes.

The result is a tree of its own, so a link must not lead out of it. A link to an entry that is not taken may stay: its
target is missing, as it may be in any package.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, override

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.export_links import without_links
from artifactstore_protocols.links import LinkPolicy, escaping_links
from artifactstore_protocols.package_tree import PackageTree
from artifactstore_protocols.paths import ancestors, check_path, listed_paths, path_key, tree_order, without_dot
from artifactstore_protocols.records import FileRecord

__all__ = [
    "WHOLE_PACKAGE",
    "ChosenEntries",
    "ExportChoice",
    "LinksLeadOut",
    "PathsCollide",
    "PathsNotInPackage",
    "choose_entries",
]


class PathsNotInPackage(ArtifactStoreError):
    """The package, or the subtree of it, has none of these paths.

    Attributes:
        package_id: the package.
        paths: the paths, as the caller gave them.
        subtree: the subtree; empty for the whole package.
    """

    package_id: str
    paths: tuple[str, ...]
    subtree: str = ""

    @override
    def __str__(self) -> str:
        inside = f" below {self.subtree!r}" if self.subtree else ""
        listing = f"`artifactstore tree {self.package_id}` lists its paths"
        return f"package {self.package_id} has no {listed_paths(self.paths)}{inside}; {listing}"


class PathsCollide(ArtifactStoreError):
    """Without their first names, paths of the package would be equal, or a file and a directory at once.

    Attributes:
        paths: the paths, as the package has them.
        strip_components: how many names were to be removed.
    """

    paths: tuple[str, ...]
    strip_components: int

    @override
    def __str__(self) -> str:
        return (
            f"without their first {self.strip_components} names, paths collide: {listed_paths(self.paths)}; "
            "strip fewer, or export one subtree at a time"
        )


class LinksLeadOut(ArtifactStoreError):
    """Links of the package lead out of the part of it that is exported.

    Attributes:
        paths: the links, as the package has them.
        targets: where each of them leads.
    """

    paths: tuple[str, ...]
    targets: tuple[str, ...]

    @override
    def __str__(self) -> str:
        links = [f"{path} -> {target}" for path, target in zip(self.paths, self.targets, strict=True)]
        advice = "export a directory above, or choose `--links follow` or `--links skip`"
        return f"links lead out of what is exported: {listed_paths(links)}; {advice}"


class ExportChoice(Struct, frozen=True):
    """What to export of a package.

    Attributes:
        subtree: a directory, a file or a link of the package; empty for the whole package.
        paths: files, links and directories of the package; None takes everything in the subtree.
        strip_components: how many names to remove from the beginning of each path, after the subtree's.
        links: what to do with symbolic links. Kept ones must not lead out.
    """

    subtree: str = ""
    paths: tuple[str, ...] | None = None
    strip_components: int = 0
    links: LinkPolicy = LinkPolicy.KEEP


WHOLE_PACKAGE = ExportChoice()


class ChosenEntries(NamedTuple):
    """The entries of an export.

    Attributes:
        entries: the entries with their paths in the export, in the order of `paths.tree_order`.
        vanished: paths of the package that have no other names than the removed ones.
        escaping: links of the package that are left out, since they lead out of the export.
    """

    entries: Sequence[FileRecord]
    vanished: tuple[str, ...] = ()
    escaping: tuple[str, ...] = ()


def choose_entries(
    package_id: str,
    entries: Sequence[FileRecord],
    choice: ExportChoice,
    *,
    leave_out_links: bool = False,
) -> ChosenEntries:
    """Return the entries of a package that an export takes.

    Args:
        package_id: the package, for errors.
        entries: all its entries.
        choice: what to take.
        leave_out_links: whether to leave out links that lead out of the export, instead of refusing them.

    Raises:
        PathRefused: a path is none.
        PathsNotInPackage: the package has no such path, or the subtree has not.
        PathsCollide: two entries would have one path.
        LinksLeadOut: links lead out of the export.
        InvalidValue: no path is given, every path vanishes, or links are refused or cannot be followed.
    """
    if choice == WHOLE_PACKAGE:
        return ChosenEntries(sorted(entries, key=lambda entry: tree_order(entry.path)))
    choice = replace(choice, subtree=without_dot(choice.subtree))
    taken = _below(package_id, entries, choice.subtree)
    if choice.paths is not None:
        taken = _listed(package_id, taken, choice.paths, choice.subtree)
    taken = without_links(taken, choice.links, lambda: PackageTree(entries))
    return _at_new_paths(taken, choice, leave_out_links=leave_out_links)


def _below(package_id: str, entries: Sequence[FileRecord], subtree: str) -> list[FileRecord]:
    if not subtree:
        return list(entries)
    wanted = path_key(check_path(subtree))
    prefix = f"{wanted}/"
    found: list[FileRecord] = []
    for entry in entries:
        key = path_key(entry.path)
        if key == wanted or key.startswith(prefix):
            found.append(entry)
    if not found:
        raise PathsNotInPackage(package_id, (subtree,))
    return found


def _listed(package_id: str, entries: Sequence[FileRecord], paths: Sequence[str], subtree: str) -> list[FileRecord]:
    if not paths:
        raise InvalidValue("paths", "none", "name at least one path of the package")
    wanted = {path_key(check_path(without_dot(path.rstrip("/") or path))): path for path in paths}
    used = set[str]()
    found: list[FileRecord] = []
    for entry in entries:
        key = path_key(entry.path)
        hits = [each for each in (key, *ancestors(key)) if each in wanted]
        used.update(hits)
        if hits:
            found.append(entry)
    if unknown := [path for key, path in wanted.items() if key not in used]:
        raise PathsNotInPackage(package_id, tuple(unknown), subtree)
    return found


def _at_new_paths(taken: Sequence[FileRecord], choice: ExportChoice, *, leave_out_links: bool) -> ChosenEntries:
    """Remove the subtree's path and the stripped names from the paths, and check that the result is a tree."""
    above = choice.subtree.count("/") + 1 if choice.subtree else 0
    chosen: list[tuple[FileRecord, str]] = []
    vanished: list[str] = []
    for entry in taken:
        names = entry.path.split("/")
        alone = len(names) == above  # the subtree itself
        if alone and entry.kind == "directory":
            continue  # it is the target
        if rest := names[above - alone + choice.strip_components :]:
            chosen.append((replace(entry, path="/".join(rest)), entry.path))
        else:
            vanished.append(entry.path)
    if vanished and not chosen:
        reason = f"nothing would be left; the longest path has {max(path.count('/') + 1 - above for path in vanished)}"
        raise InvalidValue("strip_components", str(choice.strip_components), reason)
    if choice.strip_components:
        _check_collisions(chosen, choice.strip_components)
    chosen.sort(key=lambda pair: tree_order(pair[0].path))
    originals = {entry.path: path for entry, path in chosen if entry.kind == "link"}
    links = {entry.path: entry.target for entry, _ in chosen if entry.kind == "link"}
    escaping = set(escaping_links(links, (entry.path for entry, _ in chosen if entry.kind != "link")))
    named = tuple(originals[path] for path in links if path in escaping)
    if escaping and not leave_out_links:
        targets = tuple(links[path] for path in links if path in escaping)
        raise LinksLeadOut(named, targets)
    return ChosenEntries([entry for entry, _ in chosen if entry.path not in escaping], tuple(vanished), named)


def _check_collisions(chosen: Iterable[tuple[FileRecord, str]], strip_components: int) -> None:
    by_key: dict[str, list[str]] = {}
    for entry, path in chosen:
        by_key.setdefault(path_key(entry.path), []).append(path)
    colliding = {path for paths in by_key.values() if len(paths) > 1 for path in paths}
    for key, paths in by_key.items():
        for above in ancestors(key):
            if above in by_key:
                colliding.update((*paths, *by_key[above]))
    if colliding:
        raise PathsCollide(tuple(sorted(colliding, key=tree_order)), strip_components)
