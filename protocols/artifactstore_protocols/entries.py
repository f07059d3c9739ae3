"""Entries of packages and objects of a store, as plain tuples, since commands and events hold hundreds of them.

An entry is a file, a symbolic link or an empty directory. Digests are raw bytes here. The algorithm of the primary
digests is named once for all of them.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

from artifactstore_protocols.canonical import INTEGER_MAX, RecordValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.links import target_flaw
from artifactstore_protocols.media_types import check_media_type
from artifactstore_protocols.object_keys import check_object_key
from artifactstore_protocols.paths import check_path
from artifactstore_protocols.records import EntryKind
from artifactstore_protocols.storage import RESTORE_NUMBERS, TIER_NUMBERS, Place, RestoreStatus, RetrievalTier

__all__ = [
    "BACKEND_CHARACTERS_MAX",
    "DIGEST_BYTES",
    "Entry",
    "Place",
    "StoredObject",
    "check_digest",
    "check_entry",
    "check_object",
    "check_place",
    "directory_entry",
    "encode_entry",
    "entry_of",
    "file_entry",
    "link_entry",
]

DIGEST_BYTES: Final = 32
"""The length of every digest of content, in bytes."""

BACKEND_CHARACTERS_MAX: Final = 200
"""The most characters in the id of a storage backend."""

_SHOWN_CHARACTERS: Final = 80
_FILE_FIELDS: Final = 6
_LINK_FIELDS: Final = 3
_DIRECTORY_FIELDS: Final = 2


class Entry(NamedTuple):
    """One entry of a package.

    Attributes:
        kind: `file`, `link` or `directory`. A directory is an entry only while it is empty.
        path: the path below the package's root, in the form that `paths.check_path` accepts.
        executable: whether the file's owner may execute it.
        media_type: the media type of the file.
        size_bytes: the length of the file in bytes.
        digest: the primary digest of the file's content.
        target: the target of the link, relative to the directory that holds the link.
    """

    kind: EntryKind
    path: str
    executable: bool = False
    media_type: str = ""
    size_bytes: int = 0
    digest: bytes = b""
    target: str = ""


class StoredObject(NamedTuple):
    """Proof that a content is durable at a place.

    Attributes:
        digest: the primary digest of the content.
        sha256: the SHA-256 digest of the content.
        size_bytes: the length of the content in bytes.
        place: the backend and the key.
        retrieval_tier: `immediate` if the object can be read at once, `archive` if it must be restored first.
        restore_status: the status of that restore; `not_required` for `immediate`.
    """

    digest: bytes
    sha256: bytes
    size_bytes: int
    place: Place
    retrieval_tier: RetrievalTier = "immediate"
    restore_status: RestoreStatus = "not_required"


def file_entry(path: str, executable: bool, media_type: str, size_bytes: int, digest: bytes) -> Entry:
    """Return the entry of a file."""
    return Entry("file", path, executable, media_type, size_bytes, digest)


def link_entry(path: str, target: str) -> Entry:
    """Return the entry of a symbolic link."""
    return Entry("link", path, target=target)


def directory_entry(path: str) -> Entry:
    """Return the entry of an empty directory."""
    return Entry("directory", path)


def encode_entry(entry: Entry) -> list[RecordValue]:
    """Return the entry as an array: its kind, its path, and the fields of its kind."""
    if entry.kind == "file":
        return [entry.kind, entry.path, entry.executable, entry.media_type, entry.size_bytes, entry.digest]
    return [entry.kind, entry.path, entry.target] if entry.kind == "link" else [entry.kind, entry.path]


def entry_of(value: RecordValue) -> Entry:
    """Return the entry that `encode_entry` encoded as an array, after a `check_entry`.

    Raises:
        InvalidValue, PathRefused: the array is not a valid entry.
    """
    fields: Any = value if type(value) is list and value else (None,)
    kind, count = fields[0], len(fields)
    if (kind == "file" and count == _FILE_FIELDS) or (kind == "directory" and count == _DIRECTORY_FIELDS):
        entry = Entry(*fields)
    elif kind == "link" and count == _LINK_FIELDS:
        entry = Entry("link", fields[1], target=fields[2])
    else:
        raise InvalidValue("entry", str(value)[:_SHOWN_CHARACTERS], "it is no file, link or directory")
    check_entry(entry)
    return entry


def check_entry(entry: Entry) -> None:
    """Refuse an entry that no package may hold.

    Raises:
        PathRefused: the path of the entry is invalid.
        InvalidValue: another field of the entry has the wrong type or value.
    """
    every: Any = entry  # a decoded entry can hold any types
    kind, path, executable, media_type, size_bytes, digest, target = every
    if type(path) is not str:
        raise InvalidValue("path", type(path).__name__, "a path is text")
    check_path(path)
    if kind == "file":
        if type(executable) is not bool or type(media_type) is not str:
            raise InvalidValue("entry", path[:_SHOWN_CHARACTERS], "a file has an executable bit and a media type")
        _check_media_type(media_type)
        _check_size(size_bytes)
        check_digest("digest", digest)
        if target:
            raise InvalidValue("entry", path[:_SHOWN_CHARACTERS], "a file has no target")
        return
    if executable is not False or media_type or size_bytes or digest or kind not in {"link", "directory"}:
        raise InvalidValue("entry", path[:_SHOWN_CHARACTERS], f"a {str(kind)[:20]!r} has a path and nothing of a file")
    if kind == "link":
        _check_target(target)
    elif target:
        raise InvalidValue("entry", path[:_SHOWN_CHARACTERS], "a directory has no target")


def check_object(stored: StoredObject) -> None:
    """Refuse a proof that no backend returns.

    Raises:
        InvalidValue, KeyRefused: a field has the wrong type or value.
    """
    digest, sha256, size_bytes, (backend_id, object_key), tier, restore = stored
    check_digest("digest", digest)
    check_digest("SHA-256", sha256)
    _check_size(size_bytes)
    check_place(backend_id, object_key)
    if tier not in TIER_NUMBERS or restore not in RESTORE_NUMBERS:
        raise InvalidValue("retrieval state", f"{tier}, {restore}"[:_SHOWN_CHARACTERS], "no storage backend answers so")


def check_place(backend_id: str, object_key: str) -> None:
    """Refuse a backend id or an object key of the wrong form.

    Raises:
        InvalidValue: the backend id has the wrong form.
        KeyRefused: the object key has the wrong form.
    """
    if not 0 < len(backend_id) <= BACKEND_CHARACTERS_MAX or not backend_id.isprintable():
        reason = f"use 1 to {BACKEND_CHARACTERS_MAX} printable characters"
        raise InvalidValue("backend id", backend_id[:_SHOWN_CHARACTERS], reason)
    check_object_key(object_key)


def check_digest(what: str, digest: bytes) -> None:
    """Refuse a value that is not a digest of content.

    Raises:
        InvalidValue: the value is not 32 bytes.
    """
    if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
        raise InvalidValue(what, repr(digest)[:_SHOWN_CHARACTERS], f"it has {DIGEST_BYTES} bytes")


@lru_cache(1024)
def _check_media_type(text: str) -> None:
    check_media_type(text)


def _check_size(size_bytes: int) -> None:
    if type(size_bytes) is not int or not 0 <= size_bytes <= INTEGER_MAX:
        raise InvalidValue("size", str(size_bytes)[:_SHOWN_CHARACTERS], f"it is from 0 to {INTEGER_MAX} bytes")


def _check_target(target: str) -> None:
    flaw = target_flaw(target) if type(target) is str else "is no text"
    if flaw is not None:
        raise InvalidValue("link target", ascii(target)[:_SHOWN_CHARACTERS], f"it {flaw}")
