"""The pages of a directory, against a walk of all entries."""

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.http.api.pages import directory
from artifactstore.http.api.pages.directory import list_items
from artifactstore_protocols.directories import list_directory
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.paths import ancestors, path_key
from artifactstore_protocols.records import FileRecord
from strategies import tree_paths
from unit.test_directories import record


class Entries:
    """The entries of one package, which counts what is read."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._entries = sorted((record(path) for path in paths), key=lambda entry: path_key(entry.path))
        self.entries: Sequence[FileRecord] = self._entries
        self.reads = 0

    async def file_page(self, _package_id: str, *, after: str, limit: int) -> Sequence[FileRecord]:
        self.reads += 1
        return [each for each in self._entries if path_key(each.path) > after][:limit]


async def pages_of(entries: Entries, path: str, limit: int) -> list[tuple[str, str]]:
    """The keys and kinds of all items of a directory, page by page."""
    found: list[tuple[str, str]] = []
    after = ""
    while True:
        page = await list_items(cast("EventStore", entries), "p", path, after=after, limit=limit)
        assert len(page.items) <= limit
        found += [(path_key(each.path), each.kind) for each in page.items]
        if page.next is None:
            return found
        after = page.next


@given(tree_paths(), st.integers(1, 4), st.integers(1, 5))
async def test_the_pages_of_a_directory_have_what_is_in_it(paths: list[str], limit: int, batch: int) -> None:
    entries = Entries(paths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "BATCH", batch)
        for path in {"", *(above for each in paths for above in ancestors(each))}:
            expected = list_directory(entries.entries, path)
            assert expected is not None
            found = await pages_of(entries, path, limit)
            assert sorted(found) == sorted((path_key(each.path), each.kind) for each in expected)
    assert await pages_of(entries, "nothing here", limit) == []


async def test_what_is_below_a_directory_is_skipped() -> None:
    entries = Entries([f"{top}/{number:04}" for top in "abc" for number in range(2000)] + ["d"])
    assert await pages_of(entries, "", 10) == [
        ("a", "directory"),
        ("b", "directory"),
        ("c", "directory"),
        ("d", "file"),
    ]
    assert entries.reads == 4


@pytest.mark.parametrize("after", ["..", "/", "x//", "b", "a\\"])
async def test_a_cursor_is_a_path_in_the_directory(after: str) -> None:
    with pytest.raises(InvalidValue):
        await list_items(cast("EventStore", Entries(["a/b"])), "p", "a", after=after)
