"""Names in the target of an export: the parts of a package's paths as bytes, and what a directory lists."""

import os
from collections.abc import Sequence
from unicodedata import normalize

__all__ = ["Parts", "link_at", "listed_as", "names_in", "parts_of", "paths_text"]

type Parts = tuple[bytes, ...]


def parts_of(path: str) -> Parts:
    """Return the names of a package's path as bytes: UTF-8, whatever the locale."""
    return tuple(path.encode().split(b"/"))


def listed_as(name: bytes, listing: frozenset[bytes]) -> bytes | None:
    """Return the name that a directory lists for `name`: the same, or one that is equal under NFC; None if missing."""
    if name in listing:
        return name
    wanted = _nfc(name)
    return next((each for each in listing if _nfc(each) == wanted), None)


def _nfc(name: bytes) -> str:
    return normalize("NFC", name.decode(errors="surrogateescape"))


def link_at(at: int, name: bytes) -> bytes | None:
    """Return the target of a symbolic link; None if the name is not a link."""
    try:
        return os.readlink(name, dir_fd=at)
    except OSError:
        return None


def names_in(fd: int) -> frozenset[bytes]:
    """Return the names in an open directory."""
    return frozenset(map(os.fsencode, os.listdir(fd)))


def paths_text(paths: Sequence[str], shown: int = 3) -> str:
    """Return the first paths as text for people, and the number of the others."""
    more = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    return f"{', '.join(map(repr, paths[:shown]))}{more}"
