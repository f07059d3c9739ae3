from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import cast

import pytest

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.manifest import (
    Manifest,
    ManifestFile,
    ManifestInvalid,
    Producer,
    Provenance,
    RetentionSummary,
    encode,
)
from artifactstore_protocols.manifest.parts import LABEL_BYTES_MAX
from manifest_samples import sample_file, sample_manifest, sample_package, sample_receipt

FILE = sample_file("docs/a.md", b"# Hello\n")
RECEIPT = sample_receipt(FILE)
PACKAGE = sample_package()
SAMPLE = sample_manifest()
OTHER = sample_file("z", b"other")

REFUSED_PARTS: dict[str, tuple[Callable[[], object], str, str]] = {
    "upper-case UUID": (
        lambda: replace(PACKAGE, package_id=PACKAGE.package_id.upper()),
        "package_id",
        "UUID",
    ),
    "no UUID": (lambda: replace(PACKAGE, package_id="nightly"), "package_id", "UUID"),
    "empty name": (lambda: replace(PACKAGE, name=""), "name", "0 bytes"),
    "long name": (lambda: replace(PACKAGE, name="é" * 513), "name", "1026 bytes"),
    "control character": (lambda: replace(PACKAGE, name="a\x1b[2J"), "name", "control character"),
    "C1 character": (lambda: replace(PACKAGE, name="a\x85"), "name", "control character"),
    "surrogate": (lambda: replace(PACKAGE, name="\ud800"), "name", "lone surrogate"),
    "negative time": (lambda: replace(PACKAGE, created_at_us=-1), "created_at_us", "-1 is not"),
    "time as a float": (lambda: replace(PACKAGE, finalized_at_us=cast("int", 1.0)), "finalized_at_us", "1.0 is not"),
    "late time": (
        lambda: replace(PACKAGE, finalized_at_us=INTEGER_MAX + 1),
        "finalized_at_us",
        "is not an integer from 0",
    ),
    "empty metadata key": (lambda: replace(PACKAGE, metadata={"": "x"}), "metadata", "0 bytes"),
    "surrogate in metadata": (lambda: replace(PACKAGE, metadata={"k": "\udfff"}), "metadata.k", "surrogate"),
    "absolute path": (lambda: replace(FILE, path="/a"), "path", "absolute"),
    "negative size": (lambda: replace(FILE, size_bytes=-1), "size_bytes", "-1 is not"),
    "size as a boolean": (lambda: replace(FILE, size_bytes=True), "size_bytes", "True is not"),
    "executable as a number": (
        lambda: replace(FILE, executable=cast("bool", 1)),
        "executable",
        "1 is not true or false",
    ),
    "media type with parameters": (
        lambda: replace(FILE, media_type="text/plain; charset=utf-8"),
        "media_type",
        "without parameters",
    ),
    "second digest not SHA-256": (lambda: replace(FILE, sha256=FILE.digest), "sha256", "always sha256"),
    "two SHA-256 of one content": (
        lambda: replace(FILE, digest=Digest("sha256", "0" * 64)),
        "sha256",
        "one content has one sha256",
    ),
    "no backend": (lambda: replace(RECEIPT, backend_id=""), "backend_id", "0 bytes"),
    "key out of the root": (lambda: replace(RECEIPT, object_key="../x"), "object_key", "single slashes"),
    "negative receipt": (lambda: replace(RECEIPT, size_bytes=-1), "size_bytes", "-1 is not"),
    "no retention class": (lambda: RetentionSummary("", None, None), "retention_class", "0 bytes"),
    "negative duration": (lambda: RetentionSummary("x", -1, 0), "duration_us", "-1 is not"),
    "expiry too late": (lambda: RetentionSummary("x", 1, 2**53), "expires_at_us", "is not an integer"),
    "duration without expiry": (lambda: RetentionSummary("x", 1, None), "expires_at_us", "exactly if"),
    "expiry without duration": (lambda: RetentionSummary("x", None, 1), "expires_at_us", "exactly if"),
    "no tool": (lambda: Producer("", "1"), "name", "0 bytes"),
    "no version": (lambda: Producer("x", ""), "version", "0 bytes"),
    "no actor": (lambda: replace(SAMPLE.provenance, actor=""), "actor", "0 bytes"),
    "no tree digest": (lambda: replace(SAMPLE.provenance, tree_digest=""), "tree_digest", "0 bytes"),
    "negative count": (lambda: replace(SAMPLE.provenance, file_count=-1), "file_count", "-1 is not"),
    "negative total": (lambda: replace(SAMPLE.provenance, total_bytes=-1), "total_bytes", "-1 is not"),
}

REFUSED_WHOLES: dict[str, tuple[Callable[[], object], str, str]] = {
    "later version": (lambda: replace(SAMPLE, manifest_version=2), "manifest_version", "2 is not 1"),
    "version as a boolean": (lambda: replace(SAMPLE, manifest_version=True), "manifest_version", "True is not 1"),
    "files out of order": (
        lambda: replace(SAMPLE, files=SAMPLE.files[::-1]),
        "files[1].path",
        "'docs/a.md' belongs before 'docs/copy.md'",
    ),
    "path twice": (lambda: sample_manifest(FILE, FILE), "files", "it occurs twice"),
    "NFC twins": (
        lambda: sample_manifest(sample_file("e\u0301", b""), sample_file("é", b"")),
        "files",
        "under Unicode NFC",
    ),
    "file as a directory": (
        lambda: sample_manifest(sample_file("docs", b""), FILE),
        "files",
        "needs a directory there",
    ),
    "sizes of one content differ": (
        lambda: replace(SAMPLE, files=(FILE, replace(FILE, path="x", size_bytes=9))),
        "files[1]",
        "differ from those of 'docs/a.md'",
    ),
    "SHA-256 of one content differ": (
        lambda: replace(SAMPLE, files=(FILE, replace(FILE, path="x", sha256=OTHER.sha256))),
        "files[1]",
        "differ from those of 'docs/a.md'",
    ),
    "receipts out of order": (
        lambda: replace(SAMPLE, storage_receipts=SAMPLE.storage_receipts[::-1]),
        "storage_receipts[1].content_address",
        "belongs earlier",
    ),
    "receipt twice": (
        lambda: replace(SAMPLE, storage_receipts=SAMPLE.storage_receipts[:1] * 2),
        "storage_receipts[1].content_address",
        "more than one",
    ),
    "receipt missing": (
        lambda: replace(SAMPLE, storage_receipts=()),
        "storage_receipts",
        "none is for the content of 'bin/run'",
    ),
    "receipt for nothing": (
        lambda: replace(SAMPLE, files=(), storage_receipts=(sample_receipt(OTHER),)),
        "storage_receipts[0].content_address",
        "no file has this content",
    ),
    "receipt of another size": (
        lambda: replace(SAMPLE, files=(FILE,), storage_receipts=(replace(RECEIPT, size_bytes=9),)),
        "storage_receipts[0].size_bytes",
        "'docs/a.md' has this content and 8 bytes",
    ),
    "expiry that is not the sum": (
        lambda: replace(SAMPLE, retention_summary=RetentionSummary("x", 1, 1)),
        "retention_summary.expires_at_us",
        f"make it {PACKAGE.finalized_at_us + 1}",
    ),
    "tree digest of another tree": (
        lambda: replace(SAMPLE, provenance=replace(SAMPLE.provenance, tree_digest="blake3:" + "0" * 64)),
        "provenance.tree_digest",
        "the files make it blake3:",
    ),
    "wrong count": (
        lambda: replace(SAMPLE, provenance=replace(SAMPLE.provenance, file_count=4)),
        "provenance.file_count",
        "the files make it 3, not 4",
    ),
    "wrong total": (
        lambda: replace(SAMPLE, provenance=replace(SAMPLE.provenance, total_bytes=0)),
        "provenance.total_bytes",
        "the files make it 33, not 0",
    ),
}


@pytest.mark.parametrize(("make", "where", "reason"), REFUSED_PARTS.values(), ids=REFUSED_PARTS.keys())
def test_a_part_that_breaks_a_rule_cannot_be_made(make: Callable[[], object], where: str, reason: str) -> None:
    _assert_refused(make, where, reason)


@pytest.mark.parametrize(("make", "where", "reason"), REFUSED_WHOLES.values(), ids=REFUSED_WHOLES.keys())
def test_a_manifest_that_contradicts_itself_cannot_be_made(make: Callable[[], object], where: str, reason: str) -> None:
    _assert_refused(make, where, reason)


def _assert_refused(make: Callable[[], object], where: str, reason: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        make()
    assert refused.value.where == where
    assert reason in refused.value.reason
    assert str(refused.value) == f"invalid manifest at {where}: {refused.value.reason}"
    assert isinstance(refused.value, ArtifactStoreError)


def test_build_sorts_derives_and_drops_repeated_receipts() -> None:
    assert [file.path for file in SAMPLE.files] == ["bin/run", "docs/a.md", "docs/copy.md"]
    addresses = [str(receipt.content_address) for receipt in SAMPLE.storage_receipts]
    assert addresses == sorted({str(ContentAddress(file.digest)) for file in SAMPLE.files})
    assert len(addresses) == 2
    assert SAMPLE.retention_summary == RetentionSummary(
        "ephemeral", 86_400_000_000, PACKAGE.finalized_at_us + 86_400_000_000
    )
    assert SAMPLE.provenance == Provenance(
        producer=Producer("artifactstore", "0.1.0"),
        actor="ci@example.org",
        tree_digest=SAMPLE.provenance.tree_digest,
        file_count=3,
        total_bytes=33,
    )


def test_a_package_may_be_empty_and_may_never_expire() -> None:
    empty = Manifest.build(
        package=PACKAGE,
        files=[],
        storage_receipts=[],
        retention_class="permanent",
        retention_duration_us=None,
        producer=Producer("artifactstore", "0.1.0"),
        actor="ci",
    )
    assert (empty.provenance.file_count, empty.provenance.total_bytes) == (0, 0)
    assert empty.retention_summary == RetentionSummary("permanent", None, None)


def test_one_content_in_two_backends_needs_a_choice() -> None:
    receipts = [RECEIPT, replace(RECEIPT, backend_id="other")]
    with pytest.raises(ManifestInvalid, match="more than one for this content"):
        Manifest.build(
            package=PACKAGE,
            files=[FILE],
            storage_receipts=receipts,
            retention_class="x",
            retention_duration_us=None,
            producer=Producer("x", "1"),
            actor="x",
        )


def test_a_manifest_does_not_change_under_its_holder() -> None:
    metadata = {"b": "1", "a": "2"}
    package = replace(PACKAGE, metadata=metadata)
    metadata["c"] = "3"
    assert dict(package.metadata) == {"a": "2", "b": "1"}
    assert list(package.metadata) == ["a", "b"]
    with pytest.raises(TypeError):
        package.metadata["c"] = "3"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    with pytest.raises(FrozenInstanceError):
        package.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_equal_manifests_are_equal_and_hash_alike() -> None:
    again = sample_manifest()
    assert again == SAMPLE
    assert hash(again) == hash(SAMPLE)
    assert replace(again, package=replace(PACKAGE, metadata={})) != SAMPLE


def test_the_longest_label_is_taken() -> None:
    assert replace(PACKAGE, name="x" * LABEL_BYTES_MAX).name == "x" * LABEL_BYTES_MAX


def test_every_limit_on_integers_still_encodes() -> None:
    file = replace(FILE, size_bytes=INTEGER_MAX)
    manifest = sample_manifest(file)
    assert manifest.provenance.total_bytes == INTEGER_MAX
    assert encode(manifest)
    with pytest.raises(ManifestInvalid, match="total_bytes"):
        sample_manifest(file, replace(OTHER, size_bytes=1))


def test_an_error_names_the_field_from_the_outside_in() -> None:
    inner = ManifestInvalid("path", "it is empty")
    assert inner.within("files[3]").where == "files[3].path"
    assert ManifestInvalid("", "expected a map").within("package").where == "package"
    assert str(ManifestInvalid("", "not canonical")) == "invalid manifest: not canonical"


def test_digests_under_another_primary_algorithm_are_taken() -> None:
    file: ManifestFile = replace(FILE, digest=FILE.sha256)
    manifest = sample_manifest(file)
    assert str(manifest.storage_receipts[0].content_address).startswith("sha256:")
