"""Symbolic links of a package: their allowed targets, and the search for links that lead out of the tree.

A target is relative and stays inside the tree. Where a link leads is found by resolving it through the other links of
the tree, because two links can escape together that do not escape alone: with `x/y/d` → `../..`, which is the root, `m`
→ `x/y/d/../etc` is outside, although its text says `x/y/etc`.

A link whose target is not in the tree is allowed: tools make such links on purpose, and git and tar keep them. A name
that does not exist is treated as a directory, because someone may create one there. A loop is allowed too: it leads
nowhere, so it does not lead out.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from artifactstore_protocols.paths import PathRefused, path_key

__all__ = ["TARGET_BYTES_MAX", "LinkPolicy", "check_target", "escaping_links", "target_flaw"]

TARGET_BYTES_MAX: Final = 4095
"""The maximum UTF-8 bytes of a link's target: PATH_MAX of Linux without the final NUL."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class LinkPolicy(StrEnum):
    """How an ingest treats the symbolic links of a directory."""

    KEEP = "keep"
    """Store them as links; reject the directory if any of them lead out of it."""
    FOLLOW = "follow"
    """Store the files and directories that they lead to; reject the directory if one leads out of it or to nothing."""
    REFUSE = "refuse"
    """Reject a directory that contains links."""
    SKIP = "skip"
    """Leave them out."""


def target_flaw(target: str) -> str | None:
    """Return why no link of a package may have a target, wherever it leads; None if a link may have it."""
    try:
        size_bytes = len(target.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if not 0 < size_bytes <= TARGET_BYTES_MAX:
        return f"has {size_bytes} bytes; 1 to {TARGET_BYTES_MAX} are allowed"
    if "\\" in target or _CONTROL.search(target) is not None:
        return "holds a backslash or a control character"
    return "is absolute; make it relative" if target.startswith("/") else None


def check_target(path: str, target: str) -> None:
    """Reject a target that no link of a package may have, wherever it leads.

    Args:
        path: the path of the link, for the error.
        target: the target of the link.

    Raises:
        PathRefused: the target is empty, absolute, longer than `TARGET_BYTES_MAX`, or contains a backslash, a control
            character or a surrogate.
    """
    if (flaw := target_flaw(target)) is not None:
        raise PathRefused(path, f"the link's target {target[:80]!r} {flaw}")


class _Place(NamedTuple):
    """The place that a target has led to so far: a path of the tree, and a number of missing names below it.

    The path of the root is empty.
    """

    at: str
    beyond: int


_OUTSIDE: Final = _Place("..", 0)
_NOWHERE: Final = _Place(".", 0)  # a loop


class _Link:
    """A link that is being resolved: the place so far, and the remaining names, the next one last."""

    __slots__ = ("key", "names", "place")

    def __init__(self, key: str, target: str) -> None:
        self.key = key
        self.names = target.split("/")[::-1]
        self.place = _Place(key.rpartition("/")[0], 0)


def escaping_links(links: Mapping[str, str], paths: Iterable[str]) -> list[str]:
    """Return the links that lead out of the tree, by themselves or through other links.

    The work is proportional to the length of all paths and targets: each link is resolved once. Names are compared
    under Unicode NFC, as some file systems do.

    Args:
        links: all links of the tree, path to target; each target has passed `check_target`.
        paths: the other entries of the tree: files and empty directories.

    Returns:
        The paths of the escaping links, in the order of `links`.
    """
    if not links:
        return []
    targets = {path_key(path): path_key(target) for path, target in links.items()}
    known = _with_directories([*targets, *map(path_key, paths)])
    places: dict[str, _Place] = {}
    for key in targets:
        if key not in places:
            _resolve(key, targets, known, places)
    return [path for path in links if places[path_key(path)] is _OUTSIDE]


def _with_directories(keys: list[str]) -> set[str]:
    known = set(keys)
    above = set[str]()
    for key in keys:
        directory = key.rpartition("/")[0]
        while directory and directory not in above:
            above.add(directory)
            directory = directory.rpartition("/")[0]
    return known | above


def _resolve(key: str, targets: Mapping[str, str], known: set[str], places: dict[str, _Place]) -> None:
    """Resolve a link and the links that it needs, and add the places that they lead to to `places`."""
    waiting = [_Link(key, targets[key])]
    active = {key}
    while waiting:
        link = waiting[-1]
        needed = _advance(link, targets, known, places)
        if needed is None:
            places[link.key] = link.place
            active.discard(link.key)
            waiting.pop()
        elif needed in active:  # a loop: none of the waiting links can be resolved
            places.update(dict.fromkeys(active, _NOWHERE))
            return
        else:
            waiting.append(_Link(needed, targets[needed]))
            active.add(needed)


def _advance(link: _Link, targets: Mapping[str, str], known: set[str], places: Mapping[str, _Place]) -> str | None:
    """Follow a link as far as the known places allow. Return the link that must be resolved first, or None."""
    place, names = link.place, link.names
    while names and place is not _OUTSIDE and place is not _NOWHERE:
        name = names[-1]
        if name == "..":
            place = _above(place)
        elif name not in {"", "."}:
            below = f"{place.at}/{name}" if place.at else name
            if place.beyond or below not in known:
                place = _Place(place.at, place.beyond + 1)
            elif below not in targets:
                place = _Place(below, 0)
            elif below in places:
                place = places[below]
            else:
                link.place = place
                return below
        names.pop()
    link.place = place
    return None


def _above(place: _Place) -> _Place:
    if place.beyond:
        return _Place(place.at, place.beyond - 1)
    return _Place(place.at.rpartition("/")[0], 0) if place.at else _OUTSIDE
