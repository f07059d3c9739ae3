"""Access tokens: what a grant allows, the form of a secret, and that nothing shows one."""

import traceback
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.tokens import (
    SCOPES,
    Grant,
    Scope,
    Secret,
    TokenInvalid,
    check_grant,
    is_secret,
    make_secret,
    secret_digest,
    token_principal,
)

STORE_ID = "0190b7a0-0000-7000-8000-000000000001"
RANDOM = st.binary(min_size=32, max_size=32)
NAMES = st.sampled_from(["nightly-1", "nightly-2", "release", "a", "A"])
GLOBS = st.lists(st.sampled_from(["*", "nightly-*", "release", "?", "[ab]"]), min_size=1, unique=True)


def test_a_grant_allows_its_scopes_for_the_packages_that_its_globs_match() -> None:
    grant = Grant("ci", ("read", "write"), ("nightly-*", "release"), None)
    names = ("nightly-1", "release", "other")
    allowed = {(scope, name) for scope in SCOPES for name in names if grant.allows(scope, name)}
    assert allowed == {(scope, name) for scope in ("read", "write") for name in ("nightly-1", "release")}
    assert not any(grant.allows(scope) for scope in SCOPES), "a token for some packages does nothing with the store"
    assert grant.principal == token_principal("ci") == "token:ci"


@given(st.sets(st.sampled_from(SCOPES), min_size=1), GLOBS, st.sampled_from(SCOPES), NAMES)
def test_no_scope_includes_another_one_and_more_globs_allow_no_less(
    scopes: set[Scope], globs: list[str], scope: Scope, name: str
) -> None:
    def allows(*packages: str) -> bool:
        return Grant("ci", tuple(sorted(scopes)), packages, None).allows(scope, name)

    assert allows("*") == (scope in scopes)
    assert allows(*globs) == any(allows(glob) for glob in globs)
    assert not allows()


@pytest.mark.parametrize(
    ("grant", "what"),
    [
        (Grant("", ("read",), ("*",), None), "token name"),
        (Grant("a:b", ("read",), ("*",), None), "token name"),
        (Grant("-a", ("read",), ("*",), None), "token name"),
        (Grant("a" * 101, ("read",), ("*",), None), "token name"),
        (Grant("ci", (), ("*",), None), "scopes"),
        (Grant("ci", ("read", "read"), ("*",), None), "scopes"),
        (Grant("ci", ("write", "read"), ("*",), None), "scopes"),
        (Grant("ci", ("all",), ("*",), None), "scope"),  # type: ignore[arg-type]
        (Grant("ci", ("read",), (), None), "packages"),
        (Grant("ci", ("read",), ("b", "a"), None), "packages"),
        (Grant("ci", ("read",), ("a", "a"), None), "packages"),
        (Grant("ci", ("read",), ("[",), None), "pattern"),
        (Grant("ci", ("read",), (" a",), None), "package name glob"),
        (Grant("ci", ("read", "admin"), ("a-*",), None), "packages"),
    ],
)
def test_a_grant_that_says_nothing_clear_is_refused(grant: Grant, what: str) -> None:
    with pytest.raises(InvalidValue, match=f"^invalid {what} "):
        check_grant(grant)


def test_a_grant_of_everything_is_allowed() -> None:
    check_grant(Grant("ci.1_A-b", SCOPES, ("*", "a"), 0))


@given(RANDOM, st.integers(0, 75), st.characters(codec="ascii"))
def test_a_secret_with_one_character_changed_is_none(random: bytes, at: int, other: str) -> None:
    secret = make_secret(random)
    assert is_secret(secret)
    assert random.hex() in secret
    changed = secret[:at] + other + secret[at + 1 :]
    assert is_secret(changed) == (changed == secret)
    assert not is_secret(secret[:-1])
    assert not is_secret(secret + "\n")


def _refuse(secret: Secret) -> None:
    assert is_secret(secret)
    raise TokenInvalid


@given(RANDOM)
def test_a_secret_shows_itself_only_as_text(random: bytes) -> None:
    secret = make_secret(random)
    shown = [repr(secret), repr([secret]), f"{secret!r}"]
    with pytest.raises(TokenInvalid) as raised:
        _refuse(secret)
    shown += ["".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())]
    assert all(random.hex() not in each for each in shown)
    assert "secret = Secret('ast_...')" in shown[-1]
    assert msgspec.json.encode(str(secret)) == b'"%b"' % secret.encode()


def test_the_digest_of_a_secret_belongs_to_one_store() -> None:
    secret = make_secret(bytes(32))
    assert secret == "ast_" + 64 * "0" + sha256(b"ast_" + 64 * b"0").hexdigest()[:8]
    assert secret_digest(STORE_ID, secret) == sha256(STORE_ID.encode() + secret.encode()).digest()
    assert secret_digest(STORE_ID, secret) != secret_digest(STORE_ID[:-1] + "2", secret)


def test_a_secret_has_256_random_bits() -> None:
    with pytest.raises(InvalidValue, match="give 32"):
        make_secret(bytes(16))
