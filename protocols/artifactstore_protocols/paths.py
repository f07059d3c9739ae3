"""Which relative paths a package may hold, when two of them are the same, and how they are ordered.

A path is stored exactly as given: UTF-8 text with `/` between its parts. Nothing is rewritten, since Unicode
normalisation can lengthen a name and its tables differ between Python versions. artifactstore rejects what some file
system, shell or archive reads as something else: absolute paths, `.` and `..`, empty parts, backslashes, control
characters, undecodable names and names longer than common file systems take. `links` has the rules for the targets of
symbolic links.
"""

import re
from dataclasses import dataclass
from typing import override
from unicodedata import normalize

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "PART_BYTES_MAX",
    "PATH_BYTES_MAX",
    "PathRefused",
    "ancestors",
    "check_path",
    "path_key",
    "tree_order",
]

PART_BYTES_MAX = 255
"""UTF-8 bytes in one part of a path: NAME_MAX of the common file systems."""

PATH_BYTES_MAX = 2048
"""UTF-8 bytes in a whole path, and in its key: a row of a PostgreSQL index holds 2,704, which a package's id shares."""

_PLAIN = re.compile(r"(?:(?!\.\.?(?:/|\Z))[ -.0-\[\]-~]{1,255}(?:/(?!\Z)|\Z))+")
"""Printable ASCII without backslashes in parts that `check_path` allows: nearly every path, in one step."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(eq=False)
class PathRefused(ArtifactStoreError):
    """A path that no package may hold.

    Attributes:
        path: the path as it was given.
        reason: what is wrong with it, and what would be right.
    """

    path: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"path {self.path[:200]!r} refused: {self.reason}"


def check_path(text: str) -> str:
    """Return `text` unchanged if a package may hold a file at this path.

    Raises:
        PathRefused: if it is empty, absolute or too long (also under NFC), has an empty part, `.` or `..`, or holds a
            backslash, a control character (C0, DEL, C1) or a surrogate (an undecodable file name).
    """
    if len(text) <= PATH_BYTES_MAX and _PLAIN.fullmatch(text) is not None:
        return text
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise PathRefused(text, "the name is not valid UTF-8; rename the file") from None
    if len(encoded) > PATH_BYTES_MAX:
        raise PathRefused(text, f"{len(encoded)} bytes are too long, {PATH_BYTES_MAX} at most")
    if (key_bytes := len(path_key(text).encode())) > PATH_BYTES_MAX:  # NFC can lengthen it threefold
        raise PathRefused(text, f"{key_bytes} bytes under Unicode NFC are too long, {PATH_BYTES_MAX} at most")
    if "\\" in text:
        raise PathRefused(text, "a backslash is not allowed; separate the parts with '/'")
    if (control := _CONTROL.search(text)) is not None:
        raise PathRefused(text, f"control character U+{ord(control[0]):04X} is not allowed; rename the file")
    if text.startswith("/"):
        raise PathRefused(text, "it is absolute; give it relative to the package's root")
    for part in encoded.split(b"/"):
        _check_part(text, part)
    return text


def _check_part(text: str, part: bytes) -> None:
    if not part:
        reason = "it has an empty part; use single slashes and none at the end" if text else "it is empty"
        raise PathRefused(text, reason)
    if part in {b".", b".."}:
        raise PathRefused(text, f"part {part.decode()!r} is not allowed; give the plain path below the root")
    if len(part) > PART_BYTES_MAX:
        raise PathRefused(text, f"one part has {len(part)} bytes, {PART_BYTES_MAX} at most")


def path_key(path: str) -> str:
    """The form under which no two paths of a package may be equal: Unicode normalisation form C (UAX #15).

    File systems that normalise names would otherwise write one file over the other on export.
    """
    return path if path.isascii() else normalize("NFC", path)


def tree_order(path: str) -> str:
    """The key that sorts paths by their lists of parts: `a`, `a/b`, `a.b`. What a directory holds stands together.

    NUL is in no path and sorts before every character of one; code points sort as the bytes of UTF-8 do.
    """
    return path.replace("/", "\0")


def ancestors(path: str) -> tuple[str, ...]:
    """The directories that hold `path`, outermost first: `a/b/c` gives `a` and `a/b`."""
    parts = path.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))
