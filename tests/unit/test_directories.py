"""What `ls` shows of a package, by example and against a walk of all paths."""

from collections.abc import Mapping

import pytest
from hypothesis import given

from artifactstore_protocols.directories import list_directory
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import DirectoryItem, EntryKind, FileRecord
from strategies import tree_paths


def record(path: str, kind: EntryKind = "file", size_bytes: int = 1) -> FileRecord:
    target = "x" if kind == "link" else ""
    size_bytes = size_bytes if kind == "file" else 0
    return FileRecord("p", path, kind, size_bytes, False, "", "", "", target, 1)


ENTRIES = [
    record("a", size_bytes=3),
    record("b/c/d", size_bytes=5),
    record("b/c/e", "link"),
    record("b/empty", "directory"),
    record("b.txt"),
    record("e\u0301/f"),
]


def names(path: str) -> list[str] | None:
    items = list_directory(ENTRIES, path)
    return None if items is None else [item.path for item in items]


def test_the_root_has_files_and_the_directories_of_others() -> None:
    assert list_directory(ENTRIES, "") == [
        DirectoryItem("a", "file", 3, 1),
        DirectoryItem("b", "directory", 5, 2),
        DirectoryItem("b.txt", "file", 1, 1),
        DirectoryItem("é", "directory", 1, 1),
    ]


PATHS: Mapping[str, list[str] | None] = {
    "b": ["b/c", "b/empty"],
    "b/": ["b/c", "b/empty"],
    "b/c": ["b/c/d", "b/c/e"],
    "b/c/d": ["b/c/d"],
    "b/c/e": ["b/c/e"],
    "b/empty": [],
    "é": ["e\u0301/f"],
    "b/c/d/x": None,
    "nope": None,
    "b/c/": ["b/c/d", "b/c/e"],
    "/": ["a", "b", "b.txt", "é"],
}


@pytest.mark.parametrize(("path", "expected"), PATHS.items(), ids=PATHS)
def test_a_directory_has_what_is_directly_in_it(path: str, expected: list[str] | None) -> None:
    assert names(path) == expected


def test_a_package_without_entries_has_a_root() -> None:
    assert list_directory([], "") == []
    assert list_directory([], "a") is None


@pytest.mark.slow
@given(paths=tree_paths())
def test_going_through_all_directories_finds_every_path_once(paths: list[str]) -> None:
    entries = [record(path) for path in paths]
    found: list[str] = []
    waiting = [""]
    while waiting:
        items = list_directory(entries, waiting.pop())
        assert items is not None
        waiting += [item.path for item in items if item.kind == "directory"]
        found += [item.path for item in items if item.kind == "file"]
    assert sorted(found) == sorted(paths)
    root = list_directory(entries, "")
    assert root is not None
    assert sum(item.entries for item in root) == len(paths)
    assert {path_key(path).partition("/")[0] for path in paths} == {path_key(item.path) for item in root}
