"""Symbolic links of a package: which targets they may have, and which of them lead out of the tree.

A target is relative and stays inside the tree. Where a link leads is found by resolving it through the other links of
the tree, since two links can escape together that do not escape alone: with `x/y/d` → `../..`, which is the root,
`m` → `x/y/d/../etc` is outside, although its text says `x/y/etc`.

A link whose target is not in the tree is allowed: tools make such links on purpose, and git and tar keep them. What
follows a name that does not exist is judged as if that name were a directory, since somebody may create one there. A
loop is allowed as well: it leads nowhere, so it does not lead out.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from artifactstore_protocols.paths import PathRefused, path_key

__all__ = ["TARGET_BYTES_MAX", "LinkPolicy", "check_target", "escaping_links", "target_flaw"]

TARGET_BYTES_MAX: Final = 4095
"""UTF-8 bytes in a link's target: PATH_MAX of Linux without the NUL at its end."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class LinkPolicy(StrEnum):
    """What an ingest does with the symbolic links of a directory."""

    KEEP = "keep"
    """Store them as links; refuse the directory if some lead out of it."""
    FOLLOW = "follow"
    """Store the files and directories that they lead to; refuse the directory if one leads out of it or to nothing."""
    REFUSE = "refuse"
    """Refuse a directory that holds links."""
    SKIP = "skip"
    """Leave them out."""


def target_flaw(target: str) -> str | None:
    """Say why no link of a package may have a target, wherever it would lead; None if one may."""
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
    """Refuse a target that no link of a package may have, wherever it would lead.

    Args:
        path: where the link is, for the error.
        target: what the link says.

    Raises:
        PathRefused: the target is empty, absolute, longer than `TARGET_BYTES_MAX`, or holds a backslash, a control
            character or a surrogate.
    """
    if (flaw := target_flaw(target)) is not None:
        raise PathRefused(path, f"the link's target {target[:80]!r} {flaw}")


class _Place(NamedTuple):
    """Where a target has led so far: a path of the tree, and a number of names below it that do not exist.

    The path of the root is empty.
    """

    at: str
    beyond: int


_OUTSIDE: Final = _Place("..", 0)
_NOWHERE: Final = _Place(".", 0)  # a loop


class _Link:
    """A link that is being resolved: the place so far, and the names that are left, the next one last."""

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
        paths: everything else in the tree, files and empty directories.

    Returns:
        Their paths, in the order of `links`.
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
    """Add where a link leads to `places`, and where those links lead that it needs."""
    waiting = [_Link(key, targets[key])]
    active = {key}
    while waiting:
        link = waiting[-1]
        needed = _advance(link, targets, known, places)
        if needed is None:
            places[link.key] = link.place
            active.discard(link.key)
            waiting.pop()
        elif needed in active:  # none of those that wait can ever be resolved
            places.update(dict.fromkeys(active, _NOWHERE))
            return
        else:
            waiting.append(_Link(needed, targets[needed]))
            active.add(needed)


def _advance(link: _Link, targets: Mapping[str, str], known: set[str], places: Mapping[str, _Place]) -> str | None:
    """Follow a link as far as the places known so far allow; return the link that has to be resolved first, if any."""
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
