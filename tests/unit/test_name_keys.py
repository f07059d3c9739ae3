"""The key of each name that a pattern matches is where the pattern says, and SQL makes the same keys."""

import sqlite3
from contextlib import closing

from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore.database.name_keys import name_key_sql
from artifactstore_protocols.globs import glob_matcher
from artifactstore_protocols.name_keys import (
    beginning_of_key,
    ending_in_pattern,
    is_searchable,
    key_range,
    name_key,
)

NAMES = st.text("ab.-0é\U0010ffff", min_size=1, max_size=8)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
# A pattern that resembles the path: each part of it is kept, or becomes a wildcard.
WILDCARDS = st.sampled_from(("*", "?", "**", "[a.]", "\\.", "**/"))


@st.composite
def paths_and_patterns(draw: st.DrawFn) -> tuple[str, str]:
    path = draw(PATHS)
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(path))] * 2)))
    return path, path[:start] + draw(WILDCARDS) + path[end:]


@given(paths_and_patterns())
@example(("logs/crash.log", "**/*.log"))
@example(("a.log", "a.l*"))
@example(("b/a.tar.gz", "b/*.tar.gz"))
@example(("crash.log", "crash*.log"))
@example((".log", "*.log"))
@example(("a.", "*."))
@example(("a.log", "a\\.log"))
@example(("x/Makefile", "*/Make*"))
def test_a_name_that_a_pattern_matches_is_in_the_range_of_its_keys(both: tuple[str, str]) -> None:
    path, pattern = both
    if not glob_matcher(pattern, of_paths=True)(path):
        return
    key = name_key(path.rpartition("/")[2])
    ending, slash, _rest = key.rpartition("/") if key.startswith(".") else ("", "/", "")
    known = ending_in_pattern(pattern)
    assert known in {None, ending}
    if is_searchable(pattern):
        low, high = key_range(f"{ending}{slash}{beginning_of_key(pattern)}")
        assert low <= key < high


def test_an_ending_or_a_beginning_makes_a_pattern_searchable() -> None:
    assert ending_in_pattern("build/**/*.tar.gz") == ".gz"
    assert beginning_of_key("logs/crash*.log") == "crash"
    assert beginning_of_key("logs/crash.l*") == "crash."
    for pattern, searchable in (("**/*.log", True), ("**/crash*", True), ("**/*", False), ("docs/**", False)):
        assert is_searchable(pattern) == searchable


@given(PATHS)
@example("Makefile")
@example("a.d/Makefile")
@example(".gitignore")
@example("a/..")
def test_sql_makes_the_same_key(path: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        [found] = connection.execute(f"SELECT {name_key_sql()} FROM (SELECT ? AS path_key)", (path,)).fetchone()  # noqa: S608
    assert found == name_key(path.rpartition("/")[2])


@given(st.lists(NAMES, unique=True, min_size=2, max_size=2))
def test_different_names_have_different_keys(names: list[str]) -> None:
    assert len({*map(name_key, names)}) == 2
