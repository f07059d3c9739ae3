import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

import reference_cbor
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.manifest import ManifestFile, TreeEntry, check_tree, tree_digest
from artifactstore_protocols.paths import PathRefused, ancestors, path_key
from manifest_samples import sample_file, sample_manifest
from strategies import manifest_files, paths, tree_paths


def _by_hand(files: list[ManifestFile]) -> str:
    rows = [
        [
            file.path,
            file.executable,
            file.size_bytes,
            f"{file.digest.algorithm}:{file.digest.hex}",
            f"sha256:{file.sha256.hex}",
        ]
        for file in sorted(files, key=lambda file: file.path.encode())
    ]
    return blake3(reference_cbor.encode(rows)).hexdigest()


@given(manifest_files(), st.randoms())
def test_the_digest_is_that_of_the_documented_layout_in_any_order(
    files: list[ManifestFile], shuffler: random.Random
) -> None:
    expected = Digest("blake3", _by_hand(files))
    shuffler.shuffle(files)
    assert tree_digest(files) == expected
    assert tree_digest(iter(files)) == expected


def test_the_digests_of_the_empty_tree_and_of_the_sample_are_known() -> None:
    assert tree_digest([]).hex == blake3(b"\x80").hexdigest()
    assert tree_digest(sample_manifest().files) == Digest(
        "blake3", "60937f2c0851a17894da845c79841dd34a3c0d20fdd3fde592f0368f033eb7cf"
    )


CHANGES: dict[str, Callable[[ManifestFile], ManifestFile]] = {
    "path": lambda file: replace(file, path="docs/b.md"),
    "executable": lambda file: replace(file, executable=True),
    "size": lambda file: replace(file, size_bytes=9),
    "primary": lambda file: replace(file, digest=Digest("blake3", "0" * 64)),
    "sha256": lambda file: replace(file, sha256=Digest("sha256", "0" * 64)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_everything_that_makes_a_tree_is_in_its_digest(change: Callable[[ManifestFile], ManifestFile]) -> None:
    file = sample_file("docs/a.md", b"# Hello\n")
    assert tree_digest([change(file)]) != tree_digest([file])


def test_the_media_type_is_not_in_the_digest() -> None:
    file = sample_file("docs/a.md", b"# Hello\n")
    assert tree_digest([replace(file, media_type="text/plain")]) == tree_digest([file])


def test_files_sort_by_the_bytes_of_their_paths() -> None:
    # "a-b" < "a/b" < "a0" bytewise, although a depth-first walk would visit a/ elsewhere; U+10000 is last, as in
    # UTF-8, and not before U+FFFF, as in UTF-16.
    in_order = ["A", "a-b", "a/b", "a0", "é", "\uffff", "\U00010000"]
    files: list[ManifestFile] = [sample_file(path, b"") for path in reversed(in_order)]
    assert [file.path for file in sample_manifest(*files).files] == in_order
    assert tree_digest(files).hex == _by_hand(files)


CONFLICTS = {
    "the same path twice": (["a", "b", "a"], "a", "it occurs twice"),
    "equal under NFC": (["e\u0301", "\u00e9"], "\u00e9", "equals 'e\u0301' under Unicode NFC"),
    "directories equal under NFC": (["e\u0301/x", "\u00e9/x"], "\u00e9/x", "under Unicode NFC"),
    "file above": (["a", "a/b"], "a", "'a/b' needs a directory there"),
    "file below first": (["a/b/c/d", "a/b"], "a/b", "'a/b/c/d' needs a directory there"),
    "file above under NFC": (["\u00e9", "e\u0301/x"], "\u00e9", "'e\u0301/x' needs a directory there"),
}


@pytest.mark.parametrize(("conflicting", "path", "reason"), CONFLICTS.values(), ids=CONFLICTS.keys())
def test_paths_that_cannot_be_one_tree_are_refused(conflicting: list[str], path: str, reason: str) -> None:
    with pytest.raises(PathRefused) as refused:
        check_tree(conflicting)
    assert refused.value.path == path
    assert reason in refused.value.reason
    entries: list[TreeEntry] = [sample_file(text, b"") for text in conflicting]
    with pytest.raises(PathRefused):
        tree_digest(entries)


def test_names_that_only_look_alike_are_different_files() -> None:
    check_tree(["a", "A", "a.b", "a-b", "ab/c", "b/a", "\ufb01", "fi"])


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
