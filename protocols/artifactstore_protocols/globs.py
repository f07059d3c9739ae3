"""Glob patterns: `*` any text, `?` one character, `[a-c]` and `[!a-c]` one of a set. A pattern matches whole texts.

In a pattern for paths, `*`, `?` and sets stop at `/`, and `**` does not: `docs/**` matches everything below `docs`, and
`**/a.txt` matches `a.txt` in any directory. Case counts. There is no escape; `[*]` matches a star.

A match takes time in proportion to the text, whatever the pattern: all its positions advance at once, as bits of one
number.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from artifactstore_protocols.errors import InvalidValue

__all__ = ["GLOB_LENGTH_MAX", "beginning_of", "check_glob", "glob_matcher", "is_literal", "like_pattern"]

GLOB_LENGTH_MAX: Final = 1024
"""The maximum length of a pattern, in characters."""

_WILDCARD = re.compile(r"[*?\[]")
# A `**/` counts only where a part of the path begins.
_TOKENS = re.compile(r"((?:(?<=/)|\A)\*\*+/)|(\*\*+)|(\*)|(\?)|\[(!?)(\]?[^]]+)\]|(.)", re.DOTALL)
_SHOWN_CHARACTERS = 60
_LIKE_ESCAPE = "\\"


def check_glob(pattern: str) -> None:
    """Raise `InvalidValue` if a text is no pattern."""
    if not 0 < len(pattern) <= GLOB_LENGTH_MAX or "\0" in pattern:
        raise InvalidValue("pattern", pattern[:_SHOWN_CHARACTERS], f"1 to {GLOB_LENGTH_MAX} characters and no NUL")


def is_literal(pattern: str) -> bool:
    """Return whether a pattern has no wildcard, so that it matches only itself."""
    return _WILDCARD.search(pattern) is None


def beginning_of(pattern: str) -> str:
    """Return the part of a pattern before its first wildcard. Every text that it matches begins with this part."""
    return _WILDCARD.split(pattern, maxsplit=1)[0]


def like_pattern(pattern: str) -> str:
    r"""Return a pattern for SQL's `LIKE` with the escape `\`. It matches at least what this one matches."""
    parts: list[str] = []
    for directories, stars, star, one, _negated, members, character in _TOKENS.findall(pattern):
        if directories or stars or star:
            parts.append("%")
        elif one or members:
            parts.append("_")
        else:
            parts.append(f"{_LIKE_ESCAPE}{character}" if character in {"%", "_", _LIKE_ESCAPE} else character)
    return "".join(parts)


@lru_cache(maxsize=64)
def glob_matcher(pattern: str, *, of_paths: bool = False) -> Callable[[str], bool]:
    """Return a function that tells whether the pattern matches a text."""
    stops = "/" if of_paths else ""
    takes: list[Callable[[str], bool]] = []
    stays_anywhere = stays_in_part = free = 0
    for at, (directories, stars, star, one, negated, members, character) in enumerate(_TOKENS.findall(pattern)):
        bit = 1 << at
        if directories and of_paths:
            free, stays_anywhere = free | bit, stays_anywhere | bit
            takes.append("/".__eq__)
        elif directories:  # any text and a slash: two tokens in one
            stays_anywhere |= bit
            takes.append("/".__eq__)
        elif stars or star:
            free |= bit
            if stars:
                stays_anywhere |= bit
            else:
                stays_in_part |= bit
            takes.append(_nothing)
        elif one:
            takes.append(lambda found: found != stops)
        elif members:
            takes.append(_one_of(members, stops, wanted=not negated))
        else:
            takes.append(character.__eq__)
    end = 1 << len(takes)
    steps: dict[str, int] = {}

    def matches(text: str) -> bool:
        states = _reached(1, free)
        for found in text:
            step = steps.get(found)
            if step is None:
                step = steps[found] = sum(1 << at for at, take in enumerate(takes) if take(found))
            stays = stays_anywhere if found == stops else stays_anywhere | stays_in_part
            states = _reached((states & step) << 1 | states & stays, free)
            if not states:
                return False
        return states & end != 0

    return matches


def _reached(states: int, free: int) -> int:
    """Return the states with those that follow them without a character."""
    while (more := states | (states & free) << 1) != states:
        states = more
    return states


def _nothing(_found: str) -> bool:
    return False


def _one_of(members: str, stops: str, *, wanted: bool) -> Callable[[str], bool]:
    ranges = [(each[0], each[-1]) for each in re.findall(r".-.|.", members, re.DOTALL)]
    return lambda found: found != stops and wanted == any(low <= found <= high for low, high in ranges)
