import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.paths import (
    PART_BYTES_MAX,
    PATH_BYTES_MAX,
    PathRefused,
    ancestors,
    check_path,
    path_key,
    tree_order,
)
from strategies import paths

REFUSED = {
    "empty": ("", "it is empty"),
    "root": ("/", "absolute"),
    "absolute": ("/etc/passwd", "absolute"),
    "two leading slashes": ("//host/share", "absolute"),
    "parent": ("..", r"part '\.\.'"),
    "parent first": ("../a", r"part '\.\.'"),
    "parent inside": ("a/../b", r"part '\.\.'"),
    "parent last": ("a/..", r"part '\.\.'"),
    "itself": (".", r"part '\.'"),
    "itself first": ("./a", r"part '\.'"),
    "itself last": ("a/.", r"part '\.'"),
    "empty part": ("a//b", "empty part"),
    "trailing slash": ("a/", "empty part"),
    "NUL": ("a\x00b", r"U\+0000"),
    "newline": ("a\nb", r"U\+000A"),
    "escape": ("a\x1b[2Jb", r"U\+001B"),
    "DEL": ("a\x7f", r"U\+007F"),
    "C1": ("a\x9b", r"U\+009B"),
    "backslash": ("a\\b", "backslash"),
    "drive": ("C:\\a", "backslash"),
    "undecodable name": (b"a\xff".decode("utf-8", "surrogateescape"), "not valid UTF-8"),
    "high surrogate": ("\ud83d", "not valid UTF-8"),
    "long part": ("a/" + "x" * 256, "one part has 256 bytes, 255 at most"),
    "part long in bytes": ("é" * 128, "one part has 256 bytes"),
    "long path": ("/".join(["x" * 255] * 8) + "/y", "2049 bytes are too long, 2048 at most"),
    "path long under NFC": ("/".join(["\u0958" * 49] * 7), "2064 bytes under Unicode NFC are too long, 2048 at most"),
}

ACCEPTED = [
    "a",
    "a/b/c",
    ".hidden",
    "...",
    "..a/b..",
    " a b ",
    "~",
    "-rf",
    "a:b*?<>|\"'",
    "C:",
    "é",
    "e\u0301",
    "日本/語",
    "😀.txt",
    "\u00a0",
    "\u2028",
    "x" * PART_BYTES_MAX,
    "é" * 127,
    "/".join(["x" * 255] * 8),
]


@pytest.mark.parametrize(("path", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_path_that_something_reads_otherwise_is_refused(path: str, reason: str) -> None:
    with pytest.raises(PathRefused, match=reason) as refused:
        check_path(path)
    assert refused.value.path == path
    assert isinstance(refused.value, ArtifactStoreError)
    # Whatever the path holds, the message can be printed on one line.
    assert str(refused.value).encode().decode().isprintable()


@pytest.mark.parametrize("path", ACCEPTED)
def test_a_plain_path_is_returned_unchanged(path: str) -> None:
    assert check_path(path) is path


def test_the_limits_are_those_of_file_systems_and_indexes() -> None:
    assert (PART_BYTES_MAX, PATH_BYTES_MAX) == (255, 2048)


@given(paths())
def test_drawn_paths_are_accepted(path: str) -> None:
    assert check_path(path) == path


@given(st.text(st.characters(), max_size=20))
def test_any_text_is_refused_or_is_a_plain_relative_path(text: str) -> None:
    try:
        check_path(text)
    except PathRefused:
        return
    text.encode()
    assert not set(text) & {"\x00", "\n", "\\"}
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
    assert all(part not in {"", ".", ".."} for part in text.split("/"))


def test_equal_names_in_different_normal_forms_have_one_key() -> None:
    assert path_key("caf\u00e9/x") == path_key("cafe\u0301/x") == "caf\u00e9/x"
    assert path_key("a/b") == "a/b"
    # Compatibility equivalence is another matter: these are two names everywhere.
    assert path_key("\ufb01") != path_key("fi")


@given(paths())
def test_a_key_is_stable_and_never_moves_a_file_to_another_directory(path: str) -> None:
    key = path_key(path)
    assert path_key(key) == key
    assert path_key(unicodedata.normalize("NFD", path)) == key
    assert key.split("/") == [path_key(part) for part in path.split("/")]


@pytest.mark.parametrize(
    ("path", "above"), [("a", ()), ("a/b", ("a",)), ("a/b/c/d", ("a", "a/b", "a/b/c")), ("é/b", ("é",))]
)
def test_ancestors_are_the_directories_outermost_first(path: str, above: tuple[str, ...]) -> None:
    assert ancestors(path) == above


@pytest.mark.slow
@given(st.lists(paths()))
def test_paths_sort_by_their_parts(some: list[str]) -> None:
    assert sorted(some, key=tree_order) == sorted(some, key=lambda path: path.encode().split(b"/"))
