"""What headers say of an upload, and the idempotency keys of principals."""

import hashlib
from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.http_content import repr_digest
from artifactstore_protocols.http_keys import log_key
from artifactstore_protocols.http_uploads import sha256_of, upload_headers
from artifactstore_protocols.names import check_name

KEYS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=50)


@given(st.binary(), st.sampled_from(["{}", "{};q=1", "sha-512=:AAAA:, {}", "  {} , md5=:AA==:"]))
def test_the_digest_that_an_answer_has_is_the_one_that_a_request_may_have(content: bytes, around: str) -> None:
    field = repr_digest(hashlib.sha256(content).hexdigest())
    assert sha256_of("content-digest", around.format(field)) == hashlib.sha256(content).digest()


@given(st.text(alphabet="sha-256=:,;/+AQ? ", max_size=40) | st.text(max_size=20), st.binary(max_size=40))
def test_any_header_is_understood_or_refused(text: str, raw: bytes) -> None:
    names = ("content-digest", "repr-digest", "if-none-match", "content-type", "artifactstore-executable")
    for value in (text, f"sha-256=:{b64encode(raw).decode()}:"):
        for name in names:
            with suppress(InvalidValue):
                upload_headers({name: value})
        if len(raw) != 32:
            with pytest.raises(InvalidValue):
                sha256_of("content-digest", f"sha-256=:{b64encode(raw).decode()}:")


@given(st.tuples(KEYS, KEYS), st.tuples(KEYS, KEYS))
def test_the_keys_of_two_principals_never_meet(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (log_key(*one) == log_key(*other)) == (one == other)
    check_name("idempotency key", log_key(*one))
