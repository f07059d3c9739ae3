"""The rules for relative paths in a package: which are allowed, which are equal, and how they are ordered.

A path is stored exactly as given: UTF-8 text with `/` between its parts. Paths are not rewritten, since Unicode
normalization can lengthen a name and its tables differ between Python versions. artifactstore rejects paths that some
file system, shell or archive interprets differently: absolute paths, `.` and `..`, empty parts, backslashes, control
characters, undecodable names and names longer than common file systems allow. `links` has the rules for the targets of
symbolic links.
"""

import re
from collections.abc import Sequence
from typing import override
from unicodedata import normalize

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "PART_BYTES_MAX",
    "PATH_BYTES_MAX",
    "PathRefused",
    "ancestors",
    "check_path",
    "listed_paths",
    "path_key",
    "tree_order",
    "without_dot",
]

PART_BYTES_MAX = 255
"""The maximum length of one part of a path, in UTF-8 bytes: NAME_MAX of common file systems."""

PATH_BYTES_MAX = 2048
"""The maximum length of a path, and of its key, in UTF-8 bytes.

A row of a PostgreSQL index holds at most 2,704 bytes, including the number of the package.
"""

_PLAIN = re.compile(r"(?:(?!\.\.?(?:/|\Z))[ -.0-\[\]-~]{1,255}(?:/(?!\Z)|\Z))+")
"""Matches printable ASCII without backslashes, in parts that `check_path` allows. Nearly every path matches."""

_PATHS_SHOWN = 10
_DOT = re.compile(r"\A(?:\./+)+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class PathRefused(ArtifactStoreError):
    """The path is not allowed in a package.

    Attributes:
        path: the path as given.
        reason: what is wrong with the path, and what is allowed.
    """

    path: str
    reason: str

    @override
    def __str__(self) -> str:
        return f"path {self.path[:200]!r} refused: {self.reason}"


def check_path(text: str) -> str:
    """Return `text` unchanged if a package may have an entry at this path.

    Raises:
        PathRefused: the path is empty, absolute or too long (also under NFC), has an empty part, `.` or `..`, or has a
            backslash, a control character (C0, DEL, C1) or a surrogate (from an undecodable file name).
    """
    if len(text) <= PATH_BYTES_MAX and _PLAIN.fullmatch(text) is not None:
        return text
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise PathRefused(text, "the name is not valid UTF-8; rename the file") from None
    if len(encoded) > PATH_BYTES_MAX:
        raise PathRefused(text, f"{len(encoded)} bytes are too long, {PATH_BYTES_MAX} at most")
    if (key_bytes := len(path_key(text).encode())) > PATH_BYTES_MAX:  # NFC can triple the length
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


def listed_paths(paths: Sequence[str]) -> str:
    """Return a text that names the first paths, and the number of the others."""
    more = f" and {len(paths) - _PATHS_SHOWN} more" if len(paths) > _PATHS_SHOWN else ""
    return f"{', '.join(paths[:_PATHS_SHOWN])}{more}"


def without_dot(path: str) -> str:
    """Return a path of a package as an entry has it, if somebody wrote it with `./` at its beginning."""
    return "" if path == "." else _DOT.sub("", path)


def path_key(path: str) -> str:
    """Return a path in Unicode normalization form C (UAX #15). The paths of a package have different keys.

    If two paths had the same key, an export to a file system that normalizes names would overwrite one of the files.
    """
    return path if path.isascii() else normalize("NFC", path)


def tree_order(path: str) -> str:
    """Return a key that sorts paths as lists of parts: `a`, `a/b`, `a.b`. The entries of a directory are adjacent.

    No path contains NUL, which sorts before all other characters. Code points sort like the bytes of their UTF-8 form.
    """
    return path.replace("/", "\0")


def ancestors(path: str) -> tuple[str, ...]:
    """Return the directories above `path`, outermost first: `a/b/c` gives `a` and `a/b`."""
    parts = path.split("/")
    return tuple("/".join(parts[:count]) for count in range(1, len(parts)))
