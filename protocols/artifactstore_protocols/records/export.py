"""Results of exports and copies, as frozen values."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

__all__ = ["CopyReport", "ExportReport", "RefusedFile", "TargetLimit"]


type TargetLimit = Literal["directory_sync", "file_sync", "locks", "modes", "names"]
"""A limitation of the file system that is written to.

`directory_sync` and `file_sync`: a power failure can undo the latest writes. `locks`: the file system does not keep
concurrent writers apart. `modes`: the file system does not keep permissions, and so no executable bits. `names`: the
file system keeps names in another Unicode form.
"""


class RefusedFile(Struct, frozen=True):
    """A file that could not be written to the target of an export, and the reason."""

    path: str
    reason: str


class ExportReport(Struct, frozen=True):
    """The result of exporting a package to a directory.

    Attributes:
        package_id: the id of the package.
        directory: the target directory.
        files: the number of the package's files that are in the target under their names.
        bytes: the total size of these files.
        links: the number of the package's symbolic links that are in the target.
        directories: the number of the package's empty directories that are in the target.
        unchanged: the number of files and links that were there before, as the package has them.
        replaced: the number of files and links that an update replaced, or whose executable bit it corrected.
        new: the number of files and links that were missing.
        refused: the entries that could not be written. An export with such entries raises `ExportIncomplete`.
        unreadable: the files whose objects are damaged or missing. They raise `ExportIncomplete`, too.
        left_out: the paths in the package of links that lead out of what was exported, which raise it as well.
        vanished: the paths in the package that had no other names than the stripped ones.
        others: what an update found in the target that is not in the package. It is kept. Of a directory that is not in
            the package, only the directory.
        limits: the limitations of the target's file system.
        wrong_executable_bits: the number of files in the target that are executable and should not be, or vice versa.
    """

    package_id: str
    directory: str
    files: int
    bytes: int
    links: int
    directories: int
    unchanged: int
    replaced: int
    new: int
    refused: tuple[RefusedFile, ...]
    unreadable: tuple[RefusedFile, ...]
    left_out: tuple[str, ...]
    vanished: tuple[str, ...]
    others: tuple[str, ...]
    limits: tuple[TargetLimit, ...]
    wrong_executable_bits: int

    @property
    def complete(self) -> bool:
        """Return whether everything that was asked for is in the target."""
        return not (self.refused or self.unreadable or self.left_out)


class CopyReport(Struct, frozen=True):
    """The result of copying a package to another store.

    Attributes:
        package_id: the id of the copy, in the other store.
        copied_from: the id of the package, in this store.
        name: the name of both.
        manifest_digest: the digest of the copy's manifest, which names the copy's own id and times.
        tree_digest: the tree digest of both.
        files: the number of files.
        links: the number of symbolic links.
        directories: the number of empty directories.
        bytes: the total size of the files.
        new_objects: the number of contents that were copied; the other store had the others.
        new_bytes: the total size of these contents.
        sequence: the sequence of the event that finalized the copy.
        annotations: the number of annotations that were carried over.
        tags: the tags that were carried over.
        schema: the schema of the copy, as `NAME@VERSION`; None for none.
        parents: the ids of the copy's parents, in the other store.
        parents_left_out: the ids in this store of the parents that the other store lacked when the copy began.
    """

    package_id: str
    copied_from: str
    name: str
    manifest_digest: str
    tree_digest: str
    files: int
    links: int
    directories: int
    bytes: int
    new_objects: int
    new_bytes: int
    sequence: int
    annotations: int = 0
    tags: Sequence[str] = ()
    schema: str | None = None
    parents: Sequence[str] = ()
    parents_left_out: Sequence[str] = ()
