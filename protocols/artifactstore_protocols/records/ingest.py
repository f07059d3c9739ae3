"""Results and progress of an ingest, as frozen values."""

from msgspec import Struct

from artifactstore_protocols.records.entries import EntryKind

__all__ = ["DirectoryIngest", "IngestPreview", "IngestProgress", "IngestSummary", "PreviewedEntry"]


class DirectoryIngest(Struct, frozen=True):
    """The result of ingesting a directory into a package.

    `files`, `links` and `directories` count the files, the symbolic links that were kept, and the empty directories in
    the directory. `bytes` is the total size of the files. `unchanged_files` counts the files that the package already
    had. `reused_files` counts the files that were not read, since they have not changed since an earlier ingest read
    them. `excluded` has the paths that were left out: files of the store itself, what the selection excludes, and links
    that the link policy skips. `unreadable` has the paths that could not be read, if those were to be skipped.
    """

    package_id: str
    files: int
    links: int
    directories: int
    bytes: int
    unchanged_files: int
    reused_files: int
    excluded: tuple[str, ...]
    unreadable: tuple[str, ...]
    sequence: int


class IngestSummary(Struct, frozen=True):
    """The result of ingesting a directory as a package, which was finalized.

    `deduplicated_bytes` is the size of the files whose content was in the log before the files' event. It is computed
    from the log, so every call returns the same number. `reused_files`, `excluded` and `unreadable` are as for
    `DirectoryIngest`. `continued_files` counts the files that an interrupted call had put into the package, which this
    call continued; 0 if it began a new package, or found a finalized one.
    """

    package_id: str
    name: str
    manifest_digest: str
    tree_digest: str
    files: int
    links: int
    directories: int
    bytes: int
    deduplicated_bytes: int
    reused_files: int
    continued_files: int
    excluded: tuple[str, ...]
    unreadable: tuple[str, ...]
    sequence: int


class PreviewedEntry(Struct, frozen=True):
    """An entry that an ingest would store. `size_bytes` is 0 for links and empty directories."""

    path: str
    kind: EntryKind
    size_bytes: int


class IngestPreview(Struct, frozen=True):
    """What an ingest would store and leave out. `entries` have the order of the package."""

    entries: tuple[PreviewedEntry, ...]
    files: int
    links: int
    directories: int
    bytes: int
    excluded: tuple[str, ...]
    unreadable: tuple[str, ...]


class IngestProgress(Struct, frozen=True):
    """The progress of a directory ingest. The files and bytes that are counted as done are durable and in the log.

    While the directory is being scanned, `scanning` is true and the totals cover only what the scan has found so far.
    """

    files: int
    files_total: int
    bytes: int
    bytes_total: int
    scanning: bool = False
