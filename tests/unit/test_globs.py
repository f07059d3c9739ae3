"""A pattern matches what its definition says; an index and SQL's LIKE never narrow a search too much."""

import sqlite3
from contextlib import closing
from inspect import getclosurevars

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.globs import (
    GLOB_LENGTH_MAX,
    beginning_of,
    beginning_of_name,
    check_glob,
    end_of_texts,
    glob_matcher,
    is_literal,
    last_name,
    like_pattern,
)

# What the sets mean: these characters, or all but these.
SETS = {
    "[ab]": ("ab", True),
    "[!a]": ("a", False),
    "[^b]": ("b", False),
    "[a-b]": ("ab", True),
    "[b-a]": ("", True),
    "[/a]": ("/a", True),
    "[]a]": ("]a", True),
    "[!]a]": ("]a", False),
    "[\\]*]": ("]*", True),
}
PIECES = ("a", "b", "/", "**/", "*", "**", "?", "]", "%_", "é", "\\*", "\\[", "\\a", *SETS)
PATTERNS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map("".join)
TEXTS = st.text("ab/%_é]*[", max_size=8)


def tokens_of(pattern: str) -> list[str]:
    found: list[str] = []
    while pattern:
        stars = len(pattern) - len(pattern.lstrip("*"))
        if stars > 1:
            begins = not found or found[-1] == "/" or found[-1] == "**/"
            length = stars + 1 if begins and pattern[stars : stars + 1] == "/" else stars
            found.append("**/" if length > stars else "**")
        elif pattern.startswith("["):
            length = max(len(text) for text in SETS if pattern.startswith(text))
            found.append(pattern[:length])
        else:
            length = 2 if pattern.startswith("\\") else 1
            found.append(pattern[:length])
        pattern = pattern[length:]
    return found


def defined(tokens: list[str], text: str, *, of_paths: bool) -> bool:
    """The definition, tried in every way."""
    if not tokens:
        return not text
    first, rest = tokens[0], tokens[1:]
    ends = range(len(text) + 1)
    if first == "**/":
        directories = [0] if of_paths else []
        directories += [end for end in ends if end and text[end - 1] == "/"]
        return any(defined(rest, text[end:], of_paths=of_paths) for end in directories)
    if set(first) == {"*"}:
        stops = of_paths and first == "*"
        return any(defined(rest, text[end:], of_paths=of_paths) for end in ends if not (stops and "/" in text[:end]))
    if not text or (of_paths and text[0] == "/" and first != "/"):
        return False
    if first in SETS:
        members, wanted = SETS[first]
        taken = (text[0] in members) == wanted
    else:
        taken = first == "?" or text[0] == first[-1]
    return taken and defined(rest, text[1:], of_paths=of_paths)


@given(pattern=PATTERNS, text=TEXTS)
@settings(max_examples=300)
@example("**/a", "b/a")
@example("**/a", "ba")
@example("**/**/a", "/ba")
@example("**/a", "a")
@example("a/**/b", "a/b")
@example("a**/b", "ab/b")
@example("*", "a/b")
def test_it_matches_what_its_definition_says(pattern: str, text: str) -> None:
    tokens = tokens_of(pattern)
    for of_paths in (False, True):
        expected = defined(tokens, text, of_paths=of_paths)
        assert glob_matcher(pattern, of_paths=of_paths)(text) == expected
        with pytest.MonkeyPatch.context() as patch:  # as patterns with many stars are matched
            patch.setattr("artifactstore_protocols.globs._STARS_OF_REGEX", -1)
            assert glob_matcher.__wrapped__(pattern, of_paths=of_paths)(text) == expected


@given(pattern=PATTERNS, text=TEXTS)
def test_a_text_that_matches_has_the_beginning_and_is_like_it(pattern: str, text: str) -> None:
    matches_as_path = glob_matcher(pattern, of_paths=True)(text)
    if not matches_as_path and not glob_matcher(pattern)(text):
        return
    beginning = beginning_of(pattern)
    assert text.startswith(beginning)
    end = end_of_texts(beginning)
    assert end is None or beginning <= text < end
    assert not is_literal(pattern) or text == pattern
    assert last_name(pattern) in {None, text.rpartition("/")[2]}
    assert not matches_as_path or text.rpartition("/")[2].startswith(beginning_of_name(pattern))
    with closing(sqlite3.connect(":memory:")) as database:
        [[like]] = database.execute("SELECT ? LIKE ? ESCAPE '\\'", (text, like_pattern(pattern)))
    assert like


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("**/a.txt", "a.txt"), ("a", "a"), ("x*/a", "a"), ("a/", None), ("**/*.txt", None), ("**/x[a/b]", None)],
)
def test_the_last_part_of_a_pattern_is_a_name_if_it_has_no_wildcard(pattern: str, name: str | None) -> None:
    assert last_name(pattern) == name


@pytest.mark.parametrize(
    ("pattern", "beginning"),
    [
        ("docs/a.md", "a.md"),
        ("crash*", "crash"),
        ("**/logs/crash-?.[ch]", "crash-"),
        ("*.log", ""),
        ("docs/crash**", ""),
        ("docs/x[a/b]", ""),
        ("docs/", ""),
    ],
)
def test_the_last_part_of_a_path_that_a_pattern_matches_has_its_beginning(pattern: str, beginning: str) -> None:
    assert beginning_of_name(pattern) == beginning


def test_many_stars_take_no_longer_than_the_text() -> None:
    assert not glob_matcher("*a" * 500)("a" * 4096 + "b")


@pytest.mark.parametrize("pattern", ["", "\0", "\udcff", "a" * (GLOB_LENGTH_MAX + 1), "a[", "[a", "[]", "a\\"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidValue, match="invalid pattern"):
        check_glob(pattern)


@pytest.mark.parametrize(
    ("beginning", "end"),
    [("docs/", "docs0"), ("", None), ("\U0010ffff", None), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000"), ("é", "ê")],
)
def test_the_texts_with_a_beginning_have_an_end(beginning: str, end: str | None) -> None:
    assert end_of_texts(beginning) == end


def test_a_pattern_remembers_few_characters_of_the_texts_that_it_is_compared_with() -> None:
    matches = glob_matcher("*a*b*c?")
    step_of = getclosurevars(matches).nonlocals["step_of"]
    for number in range(0x4E00, 0x5E00):
        assert matches(f"{chr(number)}abc{chr(number)}")
    assert step_of.cache_info().currsize <= 256
