"""Where the paths of a package lead: by example, and against the file system of this machine."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.globs import glob_matcher
from artifactstore_protocols.links import escaping_links
from artifactstore_protocols.package_tree import LINKS_MAX, Dead, PackageTree, Place
from artifactstore_protocols.paths import tree_order
from artifactstore_protocols.records import EntryKind, FileRecord


def record(path: str, kind: EntryKind = "file", target: str = "") -> FileRecord:
    return FileRecord("p", path, kind, 0, False, "", "", "", target, 1)


TREE = PackageTree(
    [
        record("a"),
        record("b/c/d"),
        record("b/c/up", "link", "../.."),
        record("b/empty", "directory"),
        record("dead", "link", "nowhere/x"),
        record("e\u0301/f"),
        record("here", "link", "b/./c/"),
        record("loop", "link", "loop2/x"),
        record("loop2", "link", "loop"),
        record("through-a-file", "link", "a/../b"),
    ]
)
ROOT = TREE.resolve("")

PLACES: Mapping[str, tuple[str, EntryKind]] = {
    "": ("", "directory"),
    ".": ("", "directory"),
    "a": ("a", "file"),
    "b": ("b", "directory"),
    "b//c/./d": ("b/c/d", "file"),
    "b/empty": ("b/empty", "directory"),
    "b/c/../empty": ("b/empty", "directory"),
    "here/d": ("b/c/d", "file"),
    "here/../empty": ("b/empty", "directory"),
    "here/up/a": ("a", "file"),
    "b/c/up/b/c/up": ("", "directory"),
    "é/f": ("é/f", "file"),
}


@pytest.mark.parametrize(("path", "place"), PLACES.items(), ids=PLACES)
def test_a_path_leads_where_a_file_system_would_lead_it(path: str, place: tuple[str, EntryKind]) -> None:
    found = TREE.resolve(path)
    assert isinstance(found, Place)
    assert (found.path, found.kind) == place


DEAD: Mapping[str, Dead] = {
    "x": Dead("missing", ""),
    "b/c/x": Dead("missing", ""),
    "a/": Dead("missing", ""),
    "a/x": Dead("missing", ""),
    "a/..": Dead("missing", ""),
    "..": Dead("missing", ""),
    "b/../../b": Dead("missing", ""),
    "dead": Dead("missing", "dead"),
    "here/x": Dead("missing", "here"),
    "here/up/..": Dead("missing", "b/c/up"),
    "through-a-file": Dead("missing", "through-a-file"),
    "loop": Dead("loop", "loop"),
    "loop2/x": Dead("loop", "loop2"),
}


@pytest.mark.parametrize(("path", "dead"), DEAD.items(), ids=DEAD)
def test_a_path_that_leads_to_nothing_says_why(path: str, dead: Dead) -> None:
    assert TREE.resolve(path) == dead


def test_the_last_link_is_followed_unless_the_caller_wants_it() -> None:
    for path in ("dead", "loop", "here", "b/c/up"):
        found = TREE.resolve(path, follow=False)
        assert isinstance(found, Place)
        assert (found.path, found.kind) == (path, "link")
    assert TREE.resolve("loop/x", follow=False) == Dead("loop", "loop")


def test_as_many_links_are_followed_as_linux_follows() -> None:
    chain = [record(f"l{number}", "link", f"l{number + 1}") for number in range(LINKS_MAX + 1)]
    tree = PackageTree([*chain, record(f"l{LINKS_MAX + 1}")])
    assert isinstance(tree.resolve("l1"), Place)
    assert tree.resolve("l0") == Dead("loop", f"l{LINKS_MAX}")


def test_links_that_multiply_end_soon() -> None:
    doubling = [record(f"l{number}", "link", f"l{number - 1}/../l{number - 1}") for number in range(1, 60)]
    assert PackageTree([record("l0/x"), *doubling]).resolve("l59") == Dead("loop", "l19")


def test_a_directory_has_names_as_they_were_written() -> None:
    assert isinstance(ROOT, Place)
    assert TREE.names(ROOT) == ["a", "b", "dead", "e\u0301", "here", "loop", "loop2", "through-a-file"]
    empty = TREE.resolve("b/empty")
    assert isinstance(empty, Place)
    assert TREE.names(empty) == []
    assert list(TREE.below(empty)) == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    {
        "*": ["a", "b", "dead", "e\u0301", "here", "loop", "loop2", "through-a-file"],
        "é/*": ["e\u0301/f"],
        "**/d": ["b/c/d"],
        "b/**": ["b/c", "b/c/d", "b/c/up", "b/empty"],
        "here/*": [],
        "?": ["a", "b", "e\u0301"],
    }.items(),
)
def test_a_pattern_finds_directories_links_and_files(pattern: str, found: list[str]) -> None:
    assert isinstance(ROOT, Place)
    assert list(TREE.matching(ROOT, pattern)) == found


def test_a_text_that_is_no_pattern_is_refused_at_once() -> None:
    assert isinstance(ROOT, Place)
    with pytest.raises(InvalidValue, match="end each set"):
        TREE.matching(ROOT, "[")


NAMES = st.sampled_from(["a", "b", "c", "d"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
QUERIES = st.lists(st.sampled_from(["a", "b", "c", "d", "..", ".", ""]), min_size=1, max_size=6).map("/".join)


@st.composite
def entries(draw: st.DrawFn) -> list[FileRecord]:
    """Entries that one directory can have at the same time, without links that lead out of it."""
    found: dict[str, FileRecord] = {}
    for path in draw(st.lists(PATHS, max_size=8)):
        above = {path.rsplit("/", count)[0] for count in range(1, path.count("/") + 1)}
        if path in found or above & set(found) or any(other.startswith(f"{path}/") for other in found):
            continue
        kind: EntryKind = draw(st.sampled_from(("file", "link", "directory")))
        target = draw(QUERIES.filter(lambda text: text != "" and not text.startswith("/"))) if kind == "link" else ""
        found[path] = record(path, kind, target)
    links = {path: each.target for path, each in found.items() if each.kind == "link"}
    for path in escaping_links(links, found.keys() - links.keys()):
        del found[path]
    return sorted(found.values(), key=lambda each: tree_order(each.path))


def plant(root: Path, found: list[FileRecord]) -> None:
    for each in found:
        path = root / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if each.kind == "link":
            path.symlink_to(each.target)
        elif each.kind == "file":
            path.write_text(each.path)
        else:
            path.mkdir()


def kind_on_disk(path: str) -> EntryKind | None:
    if not Path(path).exists():
        return None
    return "directory" if Path(path).is_dir() else "file"


@given(found=entries(), query=QUERIES.filter(lambda text: not text.startswith("/")))
def test_every_path_leads_where_it_leads_in_a_directory(found: list[FileRecord], query: str) -> None:
    links = {each.path: each.target for each in found if each.kind == "link"}
    paths = [each.path for each in found if each.kind != "link"]
    leaves = query != "" and "leaves" in escaping_links({**links, "leaves": query}, paths)
    with TemporaryDirectory() as name:
        root = os.path.realpath(name)
        plant(Path(root), found)
        on_disk = None if leaves else kind_on_disk(f"{root}/{query}")
        place = PackageTree(found).resolve(query)
        if isinstance(place, Dead):
            assert on_disk is None
        else:
            assert place.kind == on_disk
            assert os.path.realpath(f"{root}/{query}") == f"{root}/{place.path}".rstrip("/")


@given(found=entries(), pattern=st.sampled_from(["*", "**", "a/*", "**/a", "*/b", "[ab]/**", "?/?", "**/b/*"]))
def test_a_pattern_finds_what_a_walk_of_a_directory_would_find(found: list[FileRecord], pattern: str) -> None:
    tree = PackageTree(found)
    place = tree.resolve("")
    assert isinstance(place, Place)
    with TemporaryDirectory() as name:
        plant(Path(name), found)
        walked = [
            os.path.relpath(f"{at}/{each}", name)
            for at, directories, files in os.walk(name)
            for each in (*directories, *files)
        ]
    matches = glob_matcher(pattern, of_paths=True)
    assert sorted(tree.matching(place, pattern)) == sorted(filter(matches, walked))
    assert sorted(tree.below(place)) == sorted(walked)
