"""Comparison of an export's target with the package, before an update of the target.

Sizes and content digests count, and times do not. Nothing is written, except for executable bits of files with the
right content. Links are compared by their text and never followed.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from artifactstore.package_export.layout import PackageDirectory, directories_in, has_content
from artifactstore.package_export.marker import ENTRIES_OF_OTHERS, OWN_DIRECTORY
from artifactstore.package_export.names import link_at, listed_as, paths_text
from artifactstore.package_export.target import ExportTarget
from artifactstore_protocols.records import FileRecord

__all__ = ["Comparison", "compare"]


class Comparison(NamedTuple):
    """What an update finds in its target.

    Attributes:
        complete: paths of the files with the content of the package.
        corrected: those of them whose executable bit was wrong, and is right now.
        differing: paths of files and links whose names another file or link has.
        others: what is not in the package. Of a directory that is not in it, only the directory.
    """

    complete: frozenset[str]
    corrected: frozenset[str]
    differing: frozenset[str]
    others: tuple[str, ...]


def compare(target: ExportTarget, entries: Sequence[FileRecord], check_cancelled: Callable[[], None]) -> Comparison:
    """Compare everything in the target with the package.

    Args:
        target: the target of the export.
        entries: all entries of the package.
        check_cancelled: raises when the caller is cancelled.

    Raises:
        TargetRefused: a directory is in the place of a file or a link, or the other way round, or something else, such
            as a FIFO, is in the place of either. Nothing was written.
        OSError: the target cannot be read.
    """
    complete, corrected, differing = set[str](), set[str](), set[str]()
    others: list[str] = []
    blocked: list[str] = []
    for parts, expected, fd, listing in directories_in(target, entries, blocked, check_cancelled):
        known = {listed_as(name, listing) for name in (*expected.files, *expected.links, *expected.directories)}
        known |= ENTRIES_OF_OTHERS if not parts else set()
        others += [os.fsdecode(b"/".join((*parts, name))) for name in sorted(listing - known)]
        for name, entry in _present(expected, listing, at_root=not parts):
            check_cancelled()
            kind = _kind_at(fd, name)
            if kind is None:
                continue  # somebody removed it meanwhile
            if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
                blocked.append(entry.path)
            elif entry.kind == "link":
                if link_at(fd, name) != entry.target.encode():
                    differing.add(entry.path)
            elif (found := has_content(target, fd, name, entry, check_cancelled, exact=True)) is False:
                differing.add(entry.path)
            else:
                complete.add(entry.path)
                if found is None:
                    corrected.add(entry.path)
    if blocked:
        raise target.refused(
            f"{paths_text(blocked)} is of another kind in the package; move that away and export again"
        )
    return Comparison(frozenset(complete), frozenset(corrected), frozenset(differing), tuple(others))


def _present(
    expected: PackageDirectory, listing: frozenset[bytes], *, at_root: bool
) -> Iterator[tuple[bytes, FileRecord]]:
    """Yield the files and links that a directory lists, sorted by name."""
    for name, entry in sorted({**expected.files, **expected.links}.items()):
        if listed_as(name, listing) is not None and not (at_root and name == OWN_DIRECTORY):
            yield name, entry


def _kind_at(at: int, name: bytes) -> int | None:
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False).st_mode
    except FileNotFoundError:  # also a name that the target lists in another Unicode form
        return None
