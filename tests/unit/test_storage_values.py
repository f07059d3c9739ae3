"""The values of storage and data plane cannot contradict themselves, and their errors say what to do."""

import pytest

from artifactstore_protocols.dataplane import (
    FileSource,
    IngestResult,
    RangeRefused,
    SourceChanged,
    SourceOverrun,
    SourceRefused,
    SourceTruncated,
    SourceUnreadable,
    VerifyResult,
    VerifyStatus,
)
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.identity import ContentAddress, ContentDigests, Digest
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.storage import (
    BackendHealth,
    KeyRefused,
    KeyTaken,
    ObjectDamaged,
    ObjectMissing,
    StorageDenied,
    StorageFailed,
    StorageFull,
    StorageReceipt,
    UnknownBackend,
)

DIGESTS = ContentDigests(Digest("blake3", "a" * 64), Digest("sha256", "b" * 64))
ADDRESS = DIGESTS.content_address
OTHER_DIGESTS = ContentDigests(Digest("blake3", "c" * 64), Digest("sha256", "d" * 64))
OTHER = OTHER_DIGESTS.content_address


def receipt(address: ContentAddress = ADDRESS, size_bytes: int = 3, key: str | None = None) -> StorageReceipt:
    object_key = first_key(address) if key is None else key
    return StorageReceipt("local", object_key, address, size_bytes, "stored", "immediate", "not_required")


def test_a_receipt_with_a_key_outside_or_a_negative_size_cannot_be_made() -> None:
    with pytest.raises(KeyRefused):
        receipt(key="../x")
    with pytest.raises(InvalidValue, match="object size"):
        receipt(size_bytes=-1)


def test_an_ingest_result_needs_the_receipt_of_its_own_content() -> None:
    assert IngestResult(DIGESTS, 3, receipt()).receipt.size_bytes == 3
    for wrong in (receipt(OTHER), receipt(size_bytes=4)):
        with pytest.raises(InvalidValue, match="ingest result"):
            IngestResult(DIGESTS, 3, wrong)


@pytest.mark.parametrize(
    ("status", "digests", "size_bytes"),
    [
        ("ok", None, None),
        ("damaged", DIGESTS, 3),
        ("missing", DIGESTS, 3),
        ("missing", OTHER_DIGESTS, 3),
        ("damaged", OTHER_DIGESTS, None),
        ("ok", OTHER_DIGESTS, 3),
        ("missing", None, 3),
        ("ok", DIGESTS, None),
    ],
)
def test_a_verify_result_cannot_contradict_its_measurement(
    status: VerifyStatus, digests: ContentDigests | None, size_bytes: int | None
) -> None:
    with pytest.raises(InvalidValue, match="contradicts"):
        VerifyResult(ADDRESS, status, digests, size_bytes)


def test_verify_results_that_can_be() -> None:
    assert VerifyResult(ADDRESS, "ok", DIGESTS, 3).status == "ok"
    assert VerifyResult(OTHER, "damaged", DIGESTS, 3).status == "damaged"
    assert VerifyResult(ADDRESS, "damaged", None, None).status == "damaged"
    assert VerifyResult(ADDRESS, "missing", None, None).status == "missing"


def test_health_is_either_a_latency_or_a_failure() -> None:
    assert BackendHealth("local", 1, 1, None, 0.1, None).writable
    assert not BackendHealth("local", None, None, None, None, "EROFS").writable
    for latency_s, failure in ((None, None), (0.1, "EROFS")):
        with pytest.raises(InvalidValue):
            BackendHealth("local", 1, 1, 1, latency_s, failure)


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("", None),
        ("a", ""),
        ("a\0b", None),
        ("a", "r\0"),
        ("../a", "r"),
        ("a/..", "r"),
        ("./a", "r"),
        ("/a", "r"),
        ("a//b", "r"),
        ("a/", "r"),
        ("\ud800", None),
    ],
)
def test_a_source_that_cannot_be_a_file_below_its_root_is_refused(path: str, root: str | None) -> None:
    with pytest.raises(InvalidValue, match="source path"):
        FileSource(path, root)


@pytest.mark.parametrize(("path", "root"), [("../a", None), ("/a/./b", None), ("a/..b/c", "../r"), ("n\udcff", "r")])
def test_sources_that_can_be(path: str, root: str | None) -> None:
    assert FileSource(path, root).path == path


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (KeyRefused("../x", "it leaves"), ("../x", "it leaves")),
        (KeyTaken("local", "k"), ("local", "k", "next key")),
        (ObjectMissing("local", "k"), ("local", "k", "ingest")),
        (ObjectDamaged("local", "k", "short"), ("local", "k", "short", "verify")),
        (
            StorageFull("local", "writing", "ENOSPC"),
            ("local", "writing", "no space is left on the device", "free room"),
        ),
        (StorageDenied("local", "writing", "EROFS"), ("local", "writing", "the file system is read-only", "check")),
        (
            StorageFailed("local", "writing", "EIO"),
            ("local", "writing", "the device cannot read or write it", "check the device"),
        ),
        (StorageFailed("local", "writing", "EISDIR: at /x"), ("local", "writing: at /x;", "put that right")),
        (UnknownBackend("s3", ("a", "b")), ("s3", "a, b")),
        (UnknownBackend("s3", ()), ("s3", "none")),
        (SourceRefused("p", "it is a pipe"), ("p", "it is a pipe")),
        (SourceUnreadable("p", "ENOENT"), ("p", "no such file or directory", "check its path")),
        (SourceChanged("p", "it grew"), ("p", "it grew")),
        (SourceTruncated(9, 4), ("9", "4", "send it again")),
        (SourceOverrun(9, 12), ("9", "declare")),
        (RangeRefused(5, 7, 6), ("5", "7 bytes", "6")),
        (RangeRefused(7, None, 6), ("7", "the rest", "6")),
    ],
)
def test_an_error_tells_its_facts(error: ArtifactStoreError, facts: tuple[str, ...]) -> None:
    for fact in facts:
        assert fact in str(error)
