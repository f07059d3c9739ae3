import random
from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_cbor
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.manifest import DirectoryEntry, Entry, FileEntry, LinkEntry, check_tree, tree_digest
from artifactstore_protocols.merkle import merkle_root
from artifactstore_protocols.paths import PathRefused, ancestors, path_key
from manifest_samples import sample_file, sample_manifest
from strategies import manifest_entries, paths, tree_paths


def _root(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 §2.1.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + _root(leaves[:split]) + _root(leaves[split:])).digest()


def _by_hand(entries: Sequence[Entry]) -> str:
    """The tree digest as the blueprint describes it, without a line of artifactstore."""
    leaves: list[bytes] = []
    for entry in sorted(entries, key=lambda entry: entry.path.encode().split(b"/")):
        fields = list[object](entry)
        if entry.kind == "file":
            del fields[4]  # the media type
        leaves.append(reference_cbor.encode(fields))
    return sha256(reference_cbor.encode(["artifactstore-tree", "blake3", len(leaves), _root(leaves)])).hexdigest()


@pytest.mark.slow
@given(manifest_entries(), st.randoms())
def test_the_digest_is_that_of_the_documented_layout_in_any_order(
    entries: list[Entry], shuffler: random.Random
) -> None:
    expected = Digest("sha256", _by_hand(entries))
    shuffler.shuffle(entries)
    assert tree_digest(entries) == expected
    assert tree_digest(iter(entries)) == expected


@given(st.lists(st.binary(max_size=3), max_size=40))
def test_a_merkle_root_is_that_of_the_recursive_definition(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == _root(leaves)


# Computed with cbor2, blake3 and hashlib alone, by the steps in `manifest.tree`.
KNOWN: dict[str, tuple[list[Entry], str]] = {
    "nothing": ([], "07dc30bfda9eb3f58c4193aaa91a8557f53937eacc2fd09e9a6eb3bc8ff28c4a"),
    "an empty file": ([sample_file("a", b"")], "c52d77cd90cf3cdaaf3398048e4bf99649c1bcf5182b8f116c8d43f4eb1e075a"),
    "an empty directory": (
        [DirectoryEntry("directory", "a")],
        "608e9e09c432e37199b2d5f7481d4e7c9cf3853efc8e61e183dfd74b0be2904a",
    ),
    "a link": ([LinkEntry("link", "a", "b")], "8543c20324bbfb311e4646197edc889dcb782e55c835f5f98b340c6a828dd270"),
    "the sample": (list(sample_manifest().entries), "e9b51f6ae1f090ca0af0899521ba1b675f392758c67adffecab51c300b2ea9f4"),
}


@pytest.mark.parametrize(("entries", "digest"), KNOWN.values(), ids=KNOWN.keys())
def test_some_digests_are_known(entries: list[Entry], digest: str) -> None:
    assert tree_digest(entries).hex == digest


def test_the_empty_tree_has_the_digest_of_no_file_and_of_no_other_tree() -> None:
    assert tree_digest([]).hex != sha256(b"").hexdigest()
    assert len({tree_digest(entries).hex for entries, _ in KNOWN.values()}) == len(KNOWN)


CHANGES: dict[str, Callable[[FileEntry], FileEntry]] = {
    "path": lambda file: file._replace(path="docs/b.md"),
    "executable": lambda file: file._replace(executable=True),
    "size": lambda file: file._replace(size_bytes=9),
    "primary": lambda file: file._replace(digest=bytes(32)),
    "sha256": lambda file: file._replace(sha256=bytes(32)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_everything_that_makes_a_tree_is_in_its_digest(change: Callable[[FileEntry], FileEntry]) -> None:
    file = sample_file("docs/a.md", b"# Hello\n")
    assert tree_digest([change(file)]) != tree_digest([file])
    assert tree_digest([file], "sha256") != tree_digest([file])


def test_the_media_type_is_not_in_the_digest() -> None:
    file = sample_file("docs/a.md", b"# Hello\n")
    assert tree_digest([file._replace(media_type="text/plain")]) == tree_digest([file])


def test_entries_sort_by_the_parts_of_their_paths_so_that_a_directory_stands_together() -> None:
    # "a/b" comes before "a b", "a-b" and "a.b" although "/" is the larger byte; U+10000 is last, as in UTF-8, and not
    # before U+FFFF, as in UTF-16.
    in_order = ["A", "a/b", "a/b.c", "a b", "a-b", "a.b", "a0", "é", "\uffff", "\U00010000"]
    files = [sample_file(path, b"") for path in reversed(in_order)]
    assert [entry.path for entry in sample_manifest(*files).entries] == in_order
    assert tree_digest(files).hex == _by_hand(files)


CONFLICTS = {
    "the same path twice": (["a", "b", "a"], "a", "it occurs twice"),
    "equal under NFC": (["e\u0301", "\u00e9"], "\u00e9", "equals 'e\u0301' under Unicode NFC"),
    "directories equal under NFC": (["e\u0301/x", "\u00e9/x"], "\u00e9/x", "under Unicode NFC"),
    "entry above": (["a", "a/b"], "a", "'a/b' cannot be below it"),
    "entry above, with a name between": (["a", "a-b", "a/b"], "a", "'a/b' cannot be below it"),
    "entry below first": (["a/b/c/d", "a/b"], "a/b", "'a/b/c/d' cannot be below it"),
    "entry above under NFC": (["\u00e9", "e\u0301/x"], "\u00e9", "'e\u0301/x' cannot be below it"),
}


@pytest.mark.parametrize(("conflicting", "path", "reason"), CONFLICTS.values(), ids=CONFLICTS.keys())
def test_paths_that_cannot_be_one_tree_are_refused(conflicting: list[str], path: str, reason: str) -> None:
    with pytest.raises(PathRefused) as refused:
        check_tree(conflicting)
    assert refused.value.path == path
    assert reason in refused.value.reason


def test_names_that_only_look_alike_are_different_entries() -> None:
    check_tree(["a", "A", "a.b", "a-b", "ab/c", "b/a", "\ufb01", "fi"])


@pytest.mark.slow
@given(tree_paths(), paths())
def test_a_tree_refuses_a_further_path_exactly_if_it_is_taken_above_or_below(tree: list[str], path: str) -> None:
    check_tree(tree)
    keys = {path_key(known) for known in tree}
    above = {directory for key in keys for directory in ancestors(key)}
    key = path_key(path)
    if key in keys or key in above or keys.intersection(ancestors(key)):
        with pytest.raises(PathRefused):
            check_tree([*tree, path])
    else:
        check_tree([*tree, path])
