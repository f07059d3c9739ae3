"""No key that a backend takes leads out of its root or has a second spelling."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.storage import KeyRefused, check_object_key, object_key_of

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


@given(hex_digits=st.text("0123456789abcdef", min_size=64, max_size=64))
def test_an_address_has_a_key_in_small_directories(hex_digits: str) -> None:
    key = object_key_of(ContentAddress(Digest("blake3", hex_digits)))
    check_object_key(key)
    assert key == f"blake3/{hex_digits[:2]}/{hex_digits[2:4]}/{hex_digits}"


@pytest.mark.parametrize("key", ["a", "a" * 255, "tmpfile", "a/tmp", "blake3/ab/cd/ab.cd_ef-0", "0"])
def test_ordinary_names_are_keys(key: str) -> None:
    check_object_key(key)
