"""No key that a backend takes leads out of its root or has a second spelling."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.object_keys import check_object_key, first_key, next_key, parse_key
from artifactstore_protocols.storage import KeyRefused

REFUSED = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "a/./b",
    ".",
    ".hidden",
    "a//b",
    "a/",
    "a\\..\\b",
    "c:/x",
    "a\0b",
    "a\nb",
    "a/b\n",
    "ä",
    "Upper",
    "-option",
    "tmp",
    "tmp/x",
    "small/objects.db",
    "a" * 256,
    "a/" * 512 + "a",
]


@pytest.mark.parametrize("key", REFUSED)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(KeyRefused) as caught:
        check_object_key(key)
    assert len(caught.value.object_key) <= 80
    assert "refused" in str(caught.value)


@given(key=st.text("ab.0/-_\\~ \0A", max_size=30))
def test_a_key_that_is_taken_stays_below_any_root_as_it_is_spelt(key: str) -> None:
    try:
        check_object_key(key)
    except KeyRefused:
        return
    assert posixpath.normpath(f"/root/{key}") == f"/root/{key}"


ADDRESSES = st.binary(min_size=32, max_size=32).map(lambda digest: ContentAddress(Digest("blake3", digest.hex())))


@given(address=ADDRESSES)
def test_an_address_has_a_key_in_small_directories(address: ContentAddress) -> None:
    hex_digits = address.digest.hex
    assert first_key(address) == f"blake3/{hex_digits[:2]}/{hex_digits[2:4]}/{hex_digits}"


@given(address=ADDRESSES, generations=st.integers(1, 12))
def test_each_generation_has_a_key_of_its_own_that_names_its_content(address: ContentAddress, generations: int) -> None:
    keys = [first_key(address)]
    while len(keys) < generations:
        keys.append(next_key(keys[-1]))
    for key in keys:
        check_object_key(key)
    assert [parse_key(key) for key in keys] == [(address, number) for number in range(1, generations + 1)]
    assert keys[1:] == [f"{keys[0]}.g{number}" for number in range(2, generations + 1)]


KEY = first_key(ContentAddress(Digest("blake3", "ab" * 32)))


@pytest.mark.parametrize(
    "key",
    [
        f"{KEY}.g1",
        f"{KEY}.g02",
        f"{KEY}.g",
        f"{KEY}.g2.g3",
        f"{KEY}.g{10**9}",
        KEY.replace("/ab/ab/", "/ab/ac/"),
        KEY.replace("/ab/ab/", "/ab/"),
        f"{KEY}\n",
        f"x/{KEY}",
        "blake3",
        "",
    ],
)
def test_a_key_that_no_content_has_is_refused(key: str) -> None:
    with pytest.raises(KeyRefused):
        parse_key(key)
    with pytest.raises(KeyRefused):
        next_key(key)


@pytest.mark.parametrize("key", ["md5/ab/ab/abab", "blake3/ab/ab/abab"])
def test_a_key_of_an_unknown_kind_of_digest_is_refused(key: str) -> None:
    with pytest.raises(InvalidValue):
        parse_key(key)


@pytest.mark.parametrize("key", ["a", "a" * 255, "tmpfile", "a/tmp", "blake3/ab/cd/ab.cd_ef-0", "0"])
def test_ordinary_names_are_keys(key: str) -> None:
    check_object_key(key)
