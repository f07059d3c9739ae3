from collections.abc import Callable
from typing import Literal, cast

import pytest
from msgspec.structs import replace

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.manifest import (
    DirectoryEntry,
    LinkEntry,
    Manifest,
    ManifestInvalid,
    ManifestReceipt,
    Producer,
    Provenance,
    RetentionSummary,
    decode,
    encode,
)
from artifactstore_protocols.manifest.parts import LABEL_BYTES_MAX
from artifactstore_protocols.object_keys import first_key
from manifest_samples import sample_file, sample_manifest, sample_package, sample_receipt

FILE = sample_file("docs/a.md", b"# Hello\n")
LINK = LinkEntry("link", "latest", "docs")
RECEIPT = sample_receipt(FILE)
FIRST_KEY = first_key(ContentAddress(Digest("blake3", FILE.digest.hex())))
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
    "empty metadata key": (lambda: replace(PACKAGE, metadata={"": "x"}), "metadata", "use 1 to 200 characters"),
    "surrogate in metadata": (lambda: replace(PACKAGE, metadata={"k": "\udfff"}), "metadata", "UTF-8 can hold at /k"),
    "no retention class": (lambda: RetentionSummary("", None, None), "retention_class", "0 bytes"),
    "negative duration": (lambda: RetentionSummary("x", -1, 0), "duration_us", "-1 is not"),
    "expiry too late": (lambda: RetentionSummary("x", 1, 2**53), "expires_at_us", "is not an integer"),
    "duration without expiry": (lambda: RetentionSummary("x", 1, None), "expires_at_us", "exactly if"),
    "expiry without duration": (lambda: RetentionSummary("x", None, 1), "expires_at_us", "exactly if"),
    "no tool": (lambda: Producer("", "1"), "name", "0 bytes"),
    "no version": (lambda: Producer("x", ""), "version", "0 bytes"),
    "no principal": (lambda: replace(SAMPLE.provenance, principal=""), "principal", "0 bytes"),
    "no tree digest": (lambda: replace(SAMPLE.provenance, tree_digest=""), "tree_digest", "0 bytes"),
    "negative count": (lambda: replace(SAMPLE.provenance, file_count=-1), "file_count", "-1 is not"),
    "negative number of links": (lambda: replace(SAMPLE.provenance, link_count=-1), "link_count", "-1 is not"),
    "negative number of directories": (
        lambda: replace(SAMPLE.provenance, directory_count=-1),
        "directory_count",
        "-1 is not",
    ),
    "negative total": (lambda: replace(SAMPLE.provenance, total_bytes=-1), "total_bytes", "-1 is not"),
}

REFUSED_ENTRIES: dict[str, tuple[Callable[[], object], str, str]] = {
    "absolute path": (lambda: sample_manifest(FILE._replace(path="/a")), "path", "absolute"),
    "path that is no text": (lambda: replace(SAMPLE, entries=(FILE._replace(path=cast("str", 1)),)), "path", "text"),
    "negative size": (lambda: sample_manifest(FILE._replace(size_bytes=-1)), "size_bytes", "-1 is not"),
    "size as a boolean": (lambda: sample_manifest(FILE._replace(size_bytes=True)), "size_bytes", "True is not"),
    "size beyond the limit": (lambda: sample_manifest(FILE._replace(size_bytes=2**53)), "size_bytes", "is not"),
    "executable as a number": (
        lambda: sample_manifest(FILE._replace(executable=cast("bool", 1))),
        "executable",
        "1 is not true or false",
    ),
    "media type with parameters": (
        lambda: sample_manifest(FILE._replace(media_type="text/plain; charset=utf-8")),
        "media_type",
        "without parameters",
    ),
    "digest that is too short": (lambda: sample_manifest(FILE._replace(digest=b"x")), "digest", "is 32 bytes"),
    "digest as text": (
        lambda: sample_manifest(FILE._replace(digest=cast("bytes", "0" * 32))),
        "digest",
        "is 32 bytes",
    ),
    "second digest that is too long": (lambda: sample_manifest(FILE._replace(sha256=bytes(33))), "sha256", "32 bytes"),
    "link to nothing": (lambda: sample_manifest(LINK._replace(target="")), "path", "has 0 bytes"),
    "link to an absolute path": (lambda: sample_manifest(LINK._replace(target="/etc")), "path", "is absolute"),
    "kind of another class": (
        lambda: sample_manifest(cast("LinkEntry", FILE._replace(kind=cast("Literal['file']", "link")))),
        "kind",
        "'link' is not the kind of a FileEntry",
    ),
}

REFUSED_WHOLES: dict[str, tuple[Callable[[], object], str, str]] = {
    "later version": (lambda: replace(SAMPLE, manifest_version=2), "manifest_version", "2 is not 1"),
    "version as a boolean": (lambda: replace(SAMPLE, manifest_version=True), "manifest_version", "True is not 1"),
    "unknown algorithm": (lambda: replace(SAMPLE, digest_algorithm="md5"), "digest_algorithm", "registered"),
    "entries out of order": (
        lambda: replace(SAMPLE, entries=SAMPLE.entries[:3:-1] + SAMPLE.entries[:4]),
        "entries[1].path",
        "'bin/run' belongs before 'logs'",
    ),
    "path twice": (lambda: sample_manifest(FILE, FILE), "entries", "it occurs twice"),
    "NFC twins": (
        lambda: sample_manifest(sample_file("e\u0301", b""), sample_file("é", b"")),
        "entries",
        "under Unicode NFC",
    ),
    "file as a directory": (lambda: sample_manifest(sample_file("docs", b""), FILE), "entries", "cannot be below it"),
    "link as a directory": (
        lambda: sample_manifest(LinkEntry("link", "docs", "x"), FILE),
        "entries",
        "cannot be below it",
    ),
    "empty directory that holds a file": (
        lambda: sample_manifest(DirectoryEntry("directory", "docs"), FILE),
        "entries",
        "cannot be below it",
    ),
    "links that escape": (
        lambda: sample_manifest(
            LinkEntry("link", "m", "x/y/d/../etc"), LinkEntry("link", "x/y/d", "../.."), LinkEntry("link", "n", "..")
        ),
        "entries",
        "2 links lead out of the tree: 'm' -> 'x/y/d/../etc', 'n' -> '..'",
    ),
    "sizes of one content differ": (
        lambda: replace(SAMPLE, entries=(FILE, FILE._replace(path="x", size_bytes=9))),
        "entries[1]",
        "differ from those of 'docs/a.md'",
    ),
    "SHA-256 of one content differ": (
        lambda: sample_manifest(FILE, FILE._replace(path="x", sha256=OTHER.sha256)),
        "entries[1]",
        "differ from those of 'docs/a.md'",
    ),
    "two SHA-256 of one content": (
        lambda: replace(SAMPLE, digest_algorithm="sha256"),
        "entries[0].sha256",
        "one content has one SHA-256",
    ),
    "receipt without a backend": (
        lambda: replace(SAMPLE, entries=(FILE,), storage_receipts=(RECEIPT._replace(backend_id=""),)),
        "storage_receipts[0].backend_id",
        "0 bytes",
    ),
    "key out of the root": (
        lambda: replace(SAMPLE, entries=(FILE,), storage_receipts=(RECEIPT._replace(object_key="../x"),)),
        "storage_receipts[0].object_key",
        "single slashes",
    ),
    "first key that is named": (
        lambda: replace(SAMPLE, entries=(FILE,), storage_receipts=(RECEIPT._replace(object_key=FIRST_KEY),)),
        "storage_receipts[0].object_key",
        "it is null where",
    ),
    "receipts out of order": (
        lambda: replace(SAMPLE, storage_receipts=SAMPLE.storage_receipts[::-1]),
        "storage_receipts[1].digest",
        "belongs earlier",
    ),
    "receipt twice": (
        lambda: replace(SAMPLE, storage_receipts=SAMPLE.storage_receipts[:1] * 2),
        "storage_receipts[1].digest",
        "more than one",
    ),
    "receipt missing": (
        lambda: replace(SAMPLE, storage_receipts=()),
        "storage_receipts",
        "none is for the content of 'bin/run'",
    ),
    "receipt for nothing": (
        lambda: replace(SAMPLE, entries=(), storage_receipts=(sample_receipt(OTHER),)),
        "storage_receipts[0].digest",
        "no file has this content",
    ),
    "expiry that is not the sum": (
        lambda: replace(SAMPLE, retention_summary=RetentionSummary("x", 1, 1)),
        "retention_summary.expires_at_us",
        f"make it {PACKAGE.finalized_at_us + 1}",
    ),
    "tree digest of another tree": (
        lambda: replace(SAMPLE, provenance=replace(SAMPLE.provenance, tree_digest="blake3:" + "0" * 64)),
        "provenance.tree_digest",
        "the entries make it sha256:",
    ),
    "wrong count": (
        lambda: replace(SAMPLE, provenance=replace(SAMPLE.provenance, file_count=4)),
        "provenance.file_count",
        "the entries make it 3, not 4",
    ),
    "wrong number of links": (
        lambda: replace(SAMPLE, provenance=replace(SAMPLE.provenance, link_count=0)),
        "provenance.link_count",
        "the entries make it 1, not 0",
    ),
    "wrong number of directories": (
        lambda: replace(SAMPLE, provenance=replace(SAMPLE.provenance, directory_count=0)),
        "provenance.directory_count",
        "the entries make it 1, not 0",
    ),
    "wrong total": (
        lambda: replace(SAMPLE, provenance=replace(SAMPLE.provenance, total_bytes=0)),
        "provenance.total_bytes",
        "the entries make it 33, not 0",
    ),
}


@pytest.mark.parametrize(("make", "where", "reason"), REFUSED_PARTS.values(), ids=REFUSED_PARTS.keys())
def test_a_part_that_breaks_a_rule_cannot_be_made(make: Callable[[], object], where: str, reason: str) -> None:
    _assert_refused(make, where, reason)


@pytest.mark.parametrize(("make", "where", "reason"), REFUSED_ENTRIES.values(), ids=REFUSED_ENTRIES.keys())
def test_an_entry_that_breaks_a_rule_is_in_no_manifest(make: Callable[[], object], where: str, reason: str) -> None:
    _assert_refused(make, f"entries[0].{where}", reason)


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
    assert [entry.path for entry in SAMPLE.entries] == ["bin/run", "docs/a.md", "docs/copy.md", "docs/latest", "logs"]
    assert [file.path for file in SAMPLE.files] == ["bin/run", "docs/a.md", "docs/copy.md"]
    digests = [receipt.digest for receipt in SAMPLE.storage_receipts]
    assert digests == sorted({file.digest for file in SAMPLE.files})
    assert len(digests) == 2
    assert SAMPLE.retention_summary == RetentionSummary(
        "ephemeral", 86_400_000_000, PACKAGE.finalized_at_us + 86_400_000_000
    )
    assert SAMPLE.provenance == Provenance(
        producer=Producer("artifactstore", "0.1.0"),
        principal="ci@example.org",
        tree_digest=SAMPLE.provenance.tree_digest,
        file_count=3,
        link_count=1,
        directory_count=1,
        total_bytes=33,
    )


def test_a_package_may_be_empty_and_may_never_expire() -> None:
    empty = Manifest.build(
        package=PACKAGE,
        entries=[],
        storage_receipts=[],
        retention_class="permanent",
        retention_duration_us=None,
        producer=Producer("artifactstore", "0.1.0"),
        principal="ci",
    )
    assert (empty.provenance.file_count, empty.provenance.total_bytes) == (0, 0)
    assert empty.retention_summary == RetentionSummary("permanent", None, None)


def test_one_content_in_two_backends_needs_a_choice() -> None:
    receipts = [RECEIPT, RECEIPT._replace(backend_id="other")]
    with pytest.raises(ManifestInvalid, match="more than one for this content"):
        Manifest.build(
            package=PACKAGE,
            entries=[FILE],
            storage_receipts=receipts,
            retention_class="x",
            retention_duration_us=None,
            producer=Producer("x", "1"),
            principal="x",
        )


def test_a_manifest_does_not_change_under_its_holder() -> None:
    metadata = {"b": "1", "a": "2"}
    package = replace(PACKAGE, metadata=metadata)
    metadata["c"] = "3"
    assert dict(package.metadata) == {"a": "2", "b": "1"}
    assert list(package.metadata) == ["a", "b"]
    with pytest.raises(TypeError):
        package.metadata["c"] = "3"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    with pytest.raises(AttributeError):
        package.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_equal_manifests_are_equal_and_hash_alike() -> None:
    again = sample_manifest()
    assert again == SAMPLE
    assert hash(again) == hash(SAMPLE)
    assert replace(again, package=replace(PACKAGE, metadata={})) != SAMPLE


def test_the_longest_label_is_taken() -> None:
    assert replace(PACKAGE, name="x" * LABEL_BYTES_MAX).name == "x" * LABEL_BYTES_MAX


def test_every_limit_on_integers_still_encodes() -> None:
    file = FILE._replace(size_bytes=INTEGER_MAX)
    manifest = sample_manifest(file)
    assert manifest.provenance.total_bytes == INTEGER_MAX
    assert encode(manifest)
    with pytest.raises(ManifestInvalid, match="total_bytes"):
        sample_manifest(file, OTHER._replace(size_bytes=1))


def test_an_error_names_the_field_from_the_outside_in() -> None:
    inner = ManifestInvalid("path", "it is empty")
    assert inner.within("entries[3]").where == "entries[3].path"
    assert ManifestInvalid("", "expected a map").within("package").where == "package"
    assert str(ManifestInvalid("", "not canonical")) == "invalid manifest: not canonical"


def test_digests_under_another_primary_algorithm_are_taken() -> None:
    entry = FILE._replace(digest=FILE.sha256)
    manifest = Manifest.build(
        package=PACKAGE,
        entries=[entry],
        storage_receipts=[ManifestReceipt(FILE.sha256, "local", None)],
        retention_class="x",
        retention_duration_us=None,
        producer=Producer("x", "1"),
        principal="x",
        digest_algorithm="sha256",
    )
    assert manifest.content_address(entry) == f"sha256:{FILE.sha256.hex()}"
    assert decode(encode(manifest)) == manifest


def test_a_key_of_a_later_generation_is_named_and_a_first_key_is_not() -> None:
    later = RECEIPT._replace(object_key=f"{FIRST_KEY}.g2")
    finalized = [
        Manifest.build(
            package=PACKAGE,
            entries=[FILE],
            storage_receipts=[receipt],
            retention_class="x",
            retention_duration_us=None,
            producer=Producer("x", "1"),
            principal="x",
        )
        for receipt in (later, RECEIPT._replace(object_key=FIRST_KEY), RECEIPT)
    ]
    assert [manifest.storage_receipts for manifest in finalized] == [(later,), (RECEIPT,), (RECEIPT,)]
    keys = [manifest.object_key(manifest.storage_receipts[0]) for manifest in finalized]
    assert keys == [f"{FIRST_KEY}.g2", FIRST_KEY, FIRST_KEY]
    assert decode(encode(finalized[0])) == finalized[0]
