"""Digests and addresses round-trip, refuse what they are not, and are the same for any chunking of the bytes."""

import hashlib

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.identity import (
    ContentAddress,
    ContentDigests,
    ContentHasher,
    Digest,
    new_hasher,
    register_algorithm,
)

HEX = "0123456789abcdef"
chunkings = st.lists(st.binary(max_size=5000), max_size=8)
hex_digests = st.text(HEX, min_size=64, max_size=64)
digests = st.builds(Digest, st.sampled_from(["blake3", "sha256"]), hex_digests)


@given(chunks=chunkings)
def test_any_chunking_gives_the_digests_of_hashlib_and_blake3(chunks: list[bytes]) -> None:
    hasher = ContentHasher()
    for chunk in chunks:
        hasher.update(memoryview(bytearray(chunk)))
    whole = b"".join(chunks)
    assert hasher.size_bytes == len(whole)
    assert hasher.digests() == ContentDigests(
        Digest("blake3", blake3(whole).hexdigest()), Digest("sha256", hashlib.sha256(whole).hexdigest())
    )


def test_digests_can_be_asked_for_and_the_hash_continues() -> None:
    hasher = ContentHasher()
    empty = hasher.digests()
    hasher.update(b"x")
    assert empty.sha256.hex == hashlib.sha256().hexdigest()
    assert hasher.digests().sha256.hex == hashlib.sha256(b"x").hexdigest()


def test_a_hasher_with_sha256_as_primary_has_one_digest_twice() -> None:
    hasher = ContentHasher("sha256")
    hasher.update(b"once")
    digests = hasher.digests()
    assert digests.primary == digests.sha256 == Digest("sha256", hashlib.sha256(b"once").hexdigest())


@given(digest=digests)
def test_an_address_reads_back_what_it_writes(digest: Digest) -> None:
    address = ContentAddress(digest)
    assert str(address) == f"{digest.algorithm}:{digest.hex}"
    assert ContentAddress.parse(str(address)) == address


@given(text=st.text(":abf0 \n", max_size=90) | st.builds("blake3:{}".format, st.text(HEX + "AF\n ", max_size=70)))
def test_whatever_parses_is_written_the_same(text: str) -> None:
    try:
        address = ContentAddress.parse(text)
    except InvalidValue:
        return
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blake3",
        "a" * 64,
        ":" + "a" * 64,
        "md5:" + "a" * 32,
        "blake3:",
        "blake3:" + "a" * 63,
        "blake3:" + "a" * 65,
        "blake3:" + "A" * 64,
        "blake3:" + "g" * 64,
        "blake3:" + "a" * 63 + "\n",
        " blake3:" + "a" * 64,
        "BLAKE3:" + "a" * 64,
        "blake3::" + "a" * 63,
        "blake3:" + "\u0660" * 64,
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        ContentAddress.parse(text)
    assert len(caught.value.value) <= 80


@given(left=digests, right=digests)
def test_addresses_order_as_their_texts(left: Digest, right: Digest) -> None:
    one, other = ContentAddress(left), ContentAddress(right)
    assert (one < other) == (str(one) < str(other))
    assert (one == other) == (hash(one) == hash(other) and str(one) == str(other))


def test_the_address_of_a_content_is_its_primary_digest() -> None:
    primary = Digest("blake3", "a" * 64)
    assert ContentDigests(primary, Digest("sha256", "b" * 64)).content_address == ContentAddress(primary)


@pytest.mark.parametrize(
    ("primary", "sha256"),
    [
        (Digest("blake3", "a" * 64), Digest("blake3", "a" * 64)),
        (Digest("sha256", "a" * 64), Digest("sha256", "b" * 64)),
    ],
)
def test_a_pair_of_digests_that_no_content_has_is_refused(primary: Digest, sha256: Digest) -> None:
    with pytest.raises(InvalidValue):
        ContentDigests(primary, sha256)


def test_a_registered_algorithm_hashes_and_addresses() -> None:
    register_algorithm("sha512", hashlib.sha512, 64)
    hasher = ContentHasher("sha512")
    hasher.update(b"content")
    address = hasher.digests().content_address
    assert str(address) == f"sha512:{hashlib.sha512(b'content').hexdigest()}"
    assert ContentAddress.parse(str(address)) == address


def test_the_same_registration_again_changes_nothing_and_another_is_refused() -> None:
    register_algorithm("blake3", blake3, 32)
    with pytest.raises(InvalidValue, match="another factory"):
        register_algorithm("blake3", hashlib.sha256, 32)
    with pytest.raises(InvalidValue, match="another factory"):
        register_algorithm("blake3", blake3, 16)
    assert new_hasher("blake3").hexdigest() == blake3().hexdigest()


@pytest.mark.parametrize("name", ["", "Blake", "3blake", "a/b", "a:b", "a" * 33, "a\n"])
def test_a_name_that_cannot_be_part_of_an_address_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="algorithm name"):
        register_algorithm(name, hashlib.sha256, 32)


def test_an_algorithm_without_a_digest_is_refused() -> None:
    with pytest.raises(InvalidValue, match="digest length"):
        register_algorithm("none", hashlib.sha256, 0)


def test_an_unknown_algorithm_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidValue, match=r"blake3.*sha256"):
        new_hasher("md5")
