"""Comparison of an export's target with the package, before an export continues and at its end."""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress

from artifactstore.package_export.layout import NO_DIRECTORY, directories_in, directories_of, has_content
from artifactstore.package_export.marker import ENTRIES_OF_OTHERS, OWN_DIRECTORY
from artifactstore.package_export.names import Parts, link_at, listed_as, names_in, paths_text
from artifactstore.package_export.target import ExportTarget
from artifactstore_protocols.records import FileRecord

__all__ = ["complete_files", "misnamed_files"]

_MISNAMED = "the target keeps it under another name, or somebody removed it meanwhile"


def complete_files(
    target: ExportTarget,
    entries: Sequence[FileRecord],
    check_cancelled: Callable[[], None],
) -> frozenset[str]:
    """Return the paths of the files that an interrupted export wrote completely, compared by content.

    Args:
        target: the target of the export.
        entries: all entries of the package.
        check_cancelled: raises when the caller is cancelled.

    Raises:
        TargetRefused: the target holds something that is not in the package, or an entry with another content.
        OSError: the target cannot be read.
    """
    complete = set[str]()
    changed: list[str] = []
    foreign: list[str] = []
    for parts, expected, fd, listing in directories_in(target, entries, changed, check_cancelled):
        names = {listed: name for name in expected.files if (listed := listed_as(name, listing)) is not None}
        known = names.keys() | {listed_as(name, listing) for name in (*expected.directories, *expected.links)}
        if not parts:
            known |= ENTRIES_OF_OTHERS
            names.pop(OWN_DIRECTORY, None)  # rejected by `place`, so not reported as changed
        foreign += [os.fsdecode(b"/".join((*parts, name))) for name in sorted(listing - known)]
        for name, link in expected.links.items():
            listed = listed_as(name, listing)
            if listed is not None and link_at(fd, listed) != link.target.encode():
                changed.append(link.path)
        for name in sorted(names.values()):
            check_cancelled()
            file = expected.files[name]
            if has_content(target, fd, name, file, check_cancelled):
                complete.add(file.path)
            elif not _was_empty(fd, name):
                changed.append(file.path)
    if foreign:
        raise target.refused(
            f"it also holds {paths_text(foreign)}, not of this package; name a new or an empty directory"
        )
    if changed:
        reason = "another content than the package, or none that can be read; delete that and export again"
        raise target.refused(f"{paths_text(changed)} has {reason}")
    return frozenset(complete)


def _was_empty(at: int, name: bytes) -> bool:
    """Remove an empty file, which a power loss or a crash between two steps leaves; return False if not empty."""
    found = os.stat(name, dir_fd=at, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode) or found.st_size:
        return False
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=at)
    return True


def misnamed_files(
    target: ExportTarget,
    entries: Sequence[FileRecord],
    check_cancelled: Callable[[], None],
) -> dict[str, str]:
    """Return the paths of written entries that the target does not list under their names, each with the reason.

    A target that stores names in another Unicode form finds an entry under both forms. That is a limit, not an error.

    Raises:
        OSError: the target cannot be read.
    """
    misnamed: dict[str, str] = {}
    lost: set[Parts] = set()
    beyond: Parts | None = None  # a lost directory; all entries below it are lost too
    target.directories.close()
    for parts, expected in directories_of(entries):
        check_cancelled()
        if parts in lost:
            beyond = parts
        listing = frozenset[bytes]()
        if beyond is None or parts[: len(beyond)] != beyond:
            try:
                listing = names_in(target.directories.at(parts, make=False))
            except OSError as error:
                if error.errno not in {errno.ENOENT, *NO_DIRECTORY}:
                    raise
        for name in (*expected.files, *expected.links, *expected.directories):
            listed = listed_as(name, listing)
            if listed is not None:
                if listed != name:
                    target.limits.note("names")
            elif (entry := expected.files.get(name) or expected.links.get(name)) is not None:
                misnamed[entry.path] = _MISNAMED
            else:
                lost.add((*parts, name))
                if (path := expected.directories[name].path) is not None:
                    misnamed[path] = _MISNAMED
    return misnamed
