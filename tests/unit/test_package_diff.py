"""The differences between two packages, by example and by what they must add up to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore_protocols.package_diff import changes_between, differing_pairs
from artifactstore_protocols.records import EntryKind, FileRecord
from strategies import tree_paths


def record(path: str, content: str = "x", kind: EntryKind = "file") -> FileRecord:
    size_bytes = len(content) if kind == "file" else 0
    digest = content if size_bytes else ""
    return FileRecord("p", path, kind, size_bytes, False, "", digest, digest, "", 1)


def changes(before: list[FileRecord], after: list[FileRecord]) -> list[tuple[str | None, ...]]:
    found = changes_between(differing_pairs(before, after))
    return [(each.kind, *(None if side is None else side.path for side in (each.before, each.after))) for each in found]


def test_what_happened_to_each_entry_is_said_in_the_order_of_paths() -> None:
    before = [record("a"), record("b/c", "moved"), record("b.txt", "y"), record("gone"), record("same", "z")]
    after = [record("a", "new"), record("b/d", "moved"), record("b.txt", "y"), record("here", "h"), record("same", "z")]
    assert changes(before, after) == [
        ("changed", "a", "a"),
        ("renamed", "b/c", "b/d"),
        ("removed", "gone", None),
        ("added", None, "here"),
    ]


def test_a_path_in_another_unicode_form_and_a_bit_are_changes_and_a_media_type_is_none() -> None:
    before = [record("e\u0301"), record("run"), record("typed")]
    after = [record("\u00e9"), replace(record("run"), executable=True), replace(record("typed"), media_type="x/y")]
    assert changes(before, after) == [("changed", "run", "run"), ("changed", "e\u0301", "\u00e9")]


def test_each_removed_file_is_the_source_of_one_rename() -> None:
    before = [record("a"), record("b"), record("empty", "")]
    after = [record("c"), record("d"), record("e"), record("void", "")]
    assert changes(before, after) == [
        ("renamed", "a", "c"),
        ("renamed", "b", "d"),
        ("added", None, "e"),
        ("removed", "empty", None),
        ("added", None, "void"),
    ]


@pytest.mark.slow
@given(paths=tree_paths(), data=st.data())
def test_the_changes_lead_from_one_package_to_the_other(paths: list[str], data: st.DataObject) -> None:
    contents = st.sampled_from(["", "x", "yy"])
    old, new = (
        {path: record(path, data.draw(contents)) for path in paths if data.draw(st.booleans())} for _ in range(2)
    )
    differing = [path for path in paths if old.get(path) != new.get(path)]
    found = changes_between((old.get(path), new.get(path)) for path in differing)
    result = dict(old)
    for change in found:
        if change.before is not None:
            assert result.pop(change.before.path) == change.before
    for change in found:
        if change.after is not None:
            assert change.after.path not in result
            result[change.after.path] = change.after
    assert result == new
    assert [change.path for change in found] == sorted(
        (change.path for change in found), key=lambda path: path.replace("/", "\0")
    )
