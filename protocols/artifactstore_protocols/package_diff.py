"""The differences between two packages: entries that were added, removed, changed or renamed.

A file counts as renamed if a removed file had the same content. A path that is written in another Unicode form counts
as changed. Media types do not count, as they do not count for the tree digest.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import attrgetter

from msgspec import Struct

from artifactstore_protocols.paths import path_key, tree_order
from artifactstore_protocols.records import EntryChange, FileRecord

__all__ = ["DiffTotals", "changes_between", "diff_totals", "differing_pairs"]


class DiffTotals(Struct, frozen=True):
    """How much two packages differ.

    Attributes:
        added: the number of entries that only the second package has.
        removed: the number of entries that only the first package has.
        changed: the number of entries that differ at one path.
        renamed: the number of files that are at another path in the second package.
        bytes_before: the size of these files in the first package.
        bytes_after: the size of these files in the second package.
    """

    added: int
    removed: int
    changed: int
    renamed: int
    bytes_before: int
    bytes_after: int


_COMPARED = "path", "kind", "executable", "sha256", "target"


def changes_between(pairs: Iterable[tuple[FileRecord | None, FileRecord | None]]) -> list[EntryChange]:
    """Return the changes that lead from one package to another, in tree order of their paths.

    Args:
        pairs: for each path at which the packages differ, the entry in the first package and in the second; None where
            there is none.
    """
    pairs = list(pairs)
    removed = [before for before, after in pairs if before is not None and after is None]
    added = [after for before, after in pairs if before is None and after is not None]
    changes = [EntryChange("changed", *pair) for pair in pairs if None not in pair]
    sources: dict[str, list[FileRecord]] = defaultdict(list)
    for entry in sorted(removed, key=_order, reverse=True):
        if entry.size_bytes:  # an empty file says nothing about where it comes from
            sources[entry.content_address].append(entry)
    for entry in sorted(added, key=_order):
        if entry.size_bytes and sources[entry.content_address]:
            changes.append(EntryChange("renamed", sources[entry.content_address].pop(), entry))
        else:
            changes.append(EntryChange("added", None, entry))
    renamed = {change.before for change in changes if change.kind == "renamed"}
    changes += [EntryChange("removed", entry, None) for entry in removed if entry not in renamed]
    return sorted(changes, key=lambda change: tree_order(change.path))


def differing_pairs(
    before: Iterable[FileRecord], after: Iterable[FileRecord]
) -> list[tuple[FileRecord | None, FileRecord | None]]:
    """Return the entries of two packages at each path at which they differ, for `changes_between`.

    Paths that are equal under NFC are one path. Contents are compared by SHA-256, which every store knows.
    """
    old, new = ({path_key(entry.path): entry for entry in entries} for entries in (before, after))
    compared = attrgetter(*_COMPARED)
    pairs = ((old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys()))
    return [pair for pair in pairs if None in pair or compared(pair[0]) != compared(pair[1])]


def diff_totals(changes: Iterable[EntryChange]) -> DiffTotals:
    """Return the totals of the changes that lead from one package to another."""
    changes = list(changes)
    counts = Counter[str](change.kind for change in changes)
    before, after = (
        sum(entry.size_bytes for entry in entries if entry is not None)
        for entries in ((change.before for change in changes), (change.after for change in changes))
    )
    return DiffTotals(counts["added"], counts["removed"], counts["changed"], counts["renamed"], before, after)


def _order(entry: FileRecord) -> str:
    return tree_order(entry.path)
