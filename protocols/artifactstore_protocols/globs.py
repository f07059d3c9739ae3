"""Glob patterns: `*` any text, `?` one character, `[a-c]` and `[!a-c]` one of a set. A pattern matches whole texts.

In a pattern for paths, `*`, `?` and sets stop at `/`, and `**` does not: `docs/**` matches everything below `docs`, and
`**/a.txt` matches `a.txt` in any directory. Case counts. A backslash makes the next character plain, also in a set.

No pattern can run away: one with more than two stars is matched with all its positions at once, as bits of one number.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from artifactstore_protocols.errors import InvalidValue

__all__ = [
    "GLOB_LENGTH_MAX",
    "beginning_of",
    "beginning_of_name",
    "check_glob",
    "end_of_pattern",
    "end_of_texts",
    "glob_matcher",
    "is_literal",
    "is_unicode",
    "last_name",
    "like_pattern",
]

GLOB_LENGTH_MAX: Final = 1024
"""The maximum length of a pattern, in characters."""

_NO_TEXT = re.compile(r"[\0\ud800-\udfff]")
_WILDCARD = re.compile(r"[*?\[\\]")
# A `**/` counts only where a part of the path begins.
_SET = r"\[([!^]?)(\](?:\\.|[^\]\\])*|(?:\\.|[^\]\\])+)\]"
_TOKENS = re.compile(rf"((?:(?<=/)|\A)\*\*+/)|(\*\*+)|(\*)|(\?)|{_SET}|(\\?.)", re.DOTALL)
_MEMBERS = re.compile(r"(\\.|.)(?:-(\\.|.))?", re.DOTALL)
_SHOWN_CHARACTERS = 60
_LAST = "\U0010ffff"
_SURROGATES = range(0xD800, 0xE000)
_STARS_OF_REGEX = 2
"""A regular expression tries all places of its stars. Up to two of them are tried fast, on paths of any length."""
_CHARACTERS_KEPT = 256
"""The number of characters of which a pattern remembers where it takes them: as many bits as it is long."""
_LIKE_ESCAPE = "\\"


def is_unicode(text: str) -> bool:
    """Return whether a text can be stored: it has no NUL and no lone surrogate."""
    return _NO_TEXT.search(text) is None


def check_glob(pattern: str, *, undecodable: bool = False) -> None:
    """Raise `InvalidValue` if a text is no pattern; `undecodable` allows surrogates, as undecodable names have them."""
    is_text = "\0" not in pattern if undecodable else is_unicode(pattern)
    if not is_text or not 0 < len(pattern) <= GLOB_LENGTH_MAX:
        reason = f"1 to {GLOB_LENGTH_MAX} characters of Unicode without NUL"
        raise InvalidValue("pattern", pattern[:_SHOWN_CHARACTERS], reason)
    if any(token[-1] in {"[", "\\"} for token in _TOKENS.findall(pattern)):
        raise InvalidValue(
            "pattern", pattern[:_SHOWN_CHARACTERS], "end each set with ], and put \\ before a plain [ or \\"
        )


def is_literal(pattern: str) -> bool:
    """Return whether a pattern has no wildcard, so that it matches only itself."""
    return _WILDCARD.search(pattern) is None


def beginning_of(pattern: str) -> str:
    """Return the part of a pattern before its first wildcard. Every text that it matches begins with this part."""
    return _WILDCARD.split(pattern, maxsplit=1)[0]


def end_of_pattern(pattern: str) -> str:
    """Return the text after the last wildcard of a pattern, without backslashes. Every text that it matches ends so."""
    end = ""
    for *_wildcards, character in _TOKENS.findall(pattern):
        end = end + character[-1] if character else ""
    return end


def last_name(pattern: str) -> str | None:
    """Return the last part of every path that a pattern matches; None if it is not the same for all of them."""
    above, _, name = pattern.rpartition("/")
    # A slash within a set, or after a backslash, divides nothing.
    return name if name and is_literal(name) and "[" not in above and "\\" not in above else None


def beginning_of_name(pattern: str) -> str:
    """Return how the last part of every path begins that a pattern matches; empty if that is not known."""
    above, _, name = pattern.rpartition("/")
    is_known = "**" not in name and "[" not in above and "\\" not in above
    return beginning_of(name) if is_known else ""


def end_of_texts(beginning: str) -> str | None:
    """Return the first text, by code points, after all texts with a beginning; None if there is none after them."""
    kept = beginning.rstrip(_LAST)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following in _SURROGATES else following)


def like_pattern(pattern: str) -> str:
    r"""Return a pattern for SQL's `LIKE` with the escape `\`. It matches at least what this one matches."""
    parts: list[str] = []
    for directories, stars, star, one, _negated, members, character in _TOKENS.findall(pattern):
        if directories or stars or star:
            parts.append("%")
        elif one or members:
            parts.append("_")
        else:
            plain = character[-1]
            parts.append(f"{_LIKE_ESCAPE}{plain}" if plain in {"%", "_", _LIKE_ESCAPE} else plain)
    return "".join(parts)


@lru_cache(maxsize=64)
def glob_matcher(pattern: str, *, of_paths: bool = False) -> Callable[[str], bool]:
    """Return a function that tells whether the pattern matches a text."""
    if pattern.count("*") <= _STARS_OF_REGEX:
        expression = re.compile(_regex(pattern, of_paths=of_paths), re.DOTALL)
        return lambda text: expression.fullmatch(text) is not None
    return _at_once(pattern, of_paths=of_paths)


def _at_once(pattern: str, *, of_paths: bool) -> Callable[[str], bool]:
    """Return a function that matches all positions of a pattern at once, as bits of one number."""
    stops = "/" if of_paths else ""
    takes: list[Callable[[str], bool]] = []
    stays_anywhere = stays_in_part = free = free_of_two = 0
    for directories, stars, star, one, negated, members, character in _TOKENS.findall(pattern):
        bit = 1 << len(takes)
        if directories:  # any text and a slash; in paths, there is a state before it from which nothing is enough, too
            if of_paths:
                free, free_of_two = free | bit, free_of_two | bit
                takes.append(_nothing)
                bit <<= 1
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
            takes.append(character[-1].__eq__)
    end = 1 << len(takes)

    @lru_cache(maxsize=_CHARACTERS_KEPT)
    def step_of(found: str) -> int:
        return sum(1 << at for at, take in enumerate(takes) if take(found))

    def matches(text: str) -> bool:
        states = _reached(1, free, free_of_two)
        for found in text:
            step = step_of(found)
            stays = stays_anywhere if found == stops else stays_anywhere | stays_in_part
            states = _reached((states & step) << 1 | states & stays, free, free_of_two)
            if not states:
                return False
        return states & end != 0

    return matches


def _regex(pattern: str, *, of_paths: bool) -> str:
    """Return a pattern as a regular expression."""
    one_character = "[^/]" if of_paths else "."
    parts: list[str] = []
    for directories, stars, star, one, negated, members, character in _TOKENS.findall(pattern):
        if directories:
            parts.append("(?:.*/)?" if of_paths else ".*/")
        elif stars:
            parts.append(".*")
        elif star:
            parts.append(f"{one_character}*")
        elif one:
            parts.append(one_character)
        elif members:
            ranges = [f"{re.escape(low)}-{re.escape(high)}" for low, high in _ranges(members)]
            chosen = f"[{'^' if negated else ''}{''.join(ranges)}]" if ranges else ("." if negated else "(?!)")
            parts.append(f"(?!/){chosen}" if of_paths else chosen)
        else:
            parts.append(re.escape(character[-1]))
    return "".join(parts)


def _ranges(members: str) -> list[tuple[str, str]]:
    """Return the ranges of a set by their ends; those of a single character are equal. Empty ranges are left out."""
    found = [(low[-1], high[-1] if high else low[-1]) for low, high in _MEMBERS.findall(members)]
    return [(low, high) for low, high in found if low <= high]


def _reached(states: int, free: int, free_of_two: int) -> int:
    """Return the states with those that follow them, by one or by two, without a character."""
    while (more := states | (states & free) << 1 | (states & free_of_two) << 2) != states:
        states = more
    return states


def _nothing(_found: str) -> bool:
    return False


def _one_of(members: str, stops: str, *, wanted: bool) -> Callable[[str], bool]:
    ranges = _ranges(members)
    return lambda found: found != stops and wanted == any(low <= found <= high for low, high in ranges)
