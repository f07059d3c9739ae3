"""Tokens in the log: what creates and revokes them, when one works, and that nothing holds a secret."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.commands import Command, CommandRequest, command_digest
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import TOKEN_CREATED, Payload, TokenCreated, TokenRevoked, encode_payload
from artifactstore_protocols.judging import command_needs, decide
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.token_records import (
    CreateToken,
    RevokeToken,
    StoredToken,
    Token,
    TokenFrame,
    end_of_token,
    token_state,
    token_time,
)
from artifactstore_protocols.tokens import Grant, TokenNameTaken, TokenNotFound, make_secret, secret_digest
from command_strategies import evolved, package_id_of, stored_events

STORE, OTHER = package_id_of(1), package_id_of(2)
CREATE = CreateToken("ci", ("read", "write"), ("nightly-*",), 100, b"1" * 32, STORE)
STORED = StoredToken(Grant("ci", ("read",), ("*",), 100), b"1" * 32, STORE, "ann", 10, 4)
DAY_US = 86_400_000_000
NOW_US = 1_796_083_200_000_000  # 2026-12-01
TIMES = st.integers(0, 200)


def decided(command: Command, state: LogState) -> tuple[Payload, ...]:
    return decide(command, state, entries_max=1)


def test_a_token_is_created_once_and_its_name_is_never_used_again() -> None:
    assert decided(CREATE, LogState()) == (
        TokenCreated("ci", ("read", "write"), ("nightly-*",), 100, b"1" * 32, STORE),
    )
    created = evolved(LogState(), CREATE)
    with pytest.raises(TokenNameTaken, match="choose another one, such as 'ci-2'"):
        decided(CREATE, created)
    revoked = evolved(created, RevokeToken("ci", "leaked"), after=7)
    with pytest.raises(TokenNameTaken):
        decided(CREATE, revoked)


def test_a_token_is_revoked_once() -> None:
    created = evolved(LogState(), CREATE)
    assert decided(RevokeToken("ci", "leaked"), created) == (TokenRevoked("ci", "leaked"),)
    assert decided(RevokeToken("ci", "again"), evolved(created, RevokeToken("ci", "leaked"), after=7)) == ()
    with pytest.raises(TokenNotFound, match="token list"):
        decided(RevokeToken("cd", "leaked"), created)
    assert command_needs([CREATE, RevokeToken("cd", "old")]) == Needs(tokens=frozenset({"ci", "cd"}))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"name": "a b"}, "token name"),
        ({"scopes": ()}, "scopes"),
        ({"scopes": ("sudo",)}, r"scopes\[0\]"),
        ({"packages": ()}, "packages"),
        ({"expires_at_us": 1 << 60}, "expiry"),
        ({"expires_at_us": -1}, "expires_at_us"),
        ({"digest": b"1" * 31}, "token digest"),
        ({"store_id": "s"}, "store id"),
    ],
)
def test_a_command_that_breaks_a_rule_is_refused(change: dict[str, object], what: str) -> None:
    with pytest.raises(InvalidValue, match=f"^invalid {what} "):
        msgspec.structs.replace(CREATE, **change)


@given(TIMES, st.none() | TIMES, st.none() | TIMES, st.booleans(), st.booleans())
def test_only_a_token_of_this_store_that_is_neither_revoked_nor_over_works(
    now_us: int, seen_us: int | None, expires_at_us: int | None, is_revoked: bool, is_here: bool
) -> None:
    grant = Grant("ci", ("read",), ("*",), expires_at_us)
    revoked = (20, "ben", "leaked") if is_revoked else (None, None, None)
    stored = StoredToken(grant, b"1" * 32, STORE if is_here else OTHER, "ann", 10, 4, *revoked)
    time_us = max(now_us, seen_us or 0)
    works = not is_revoked and is_here and (expires_at_us is None or time_us < expires_at_us)
    frame = TokenFrame(STORE, seen_us)
    assert (frame.state(stored, now_us) == "active") == works
    assert Token.of(stored, frame.state(stored, now_us)).state == frame.state(stored, now_us)


def test_the_state_of_a_token_says_why_it_does_not_work() -> None:
    assert [token_state(STORED, STORE, time_us) for time_us in (99, 100)] == ["active", "expired"]
    assert token_state(STORED, OTHER, 99) == "imported"
    assert token_state(msgspec.structs.replace(STORED, revoked_at_us=20), OTHER, 101) == "revoked"
    assert [token_time(5, None), token_time(5, 3), token_time(3, 5)] == [5, 5, 5]


@pytest.mark.parametrize(
    ("text", "end_us"),
    [
        ("90d", NOW_US + 90 * DAY_US),
        ("30m", NOW_US + 30 * 60_000_000),
        ("2026-12-01", NOW_US + DAY_US),
        ("2026-12-02T12:00", NOW_US + DAY_US + DAY_US // 2),
        ("2026-12-01T02:00+01:00", NOW_US + DAY_US // 24),
        ("never", None),
    ],
)
def test_an_expiry_is_a_duration_a_day_a_time_or_never(text: str, end_us: int | None) -> None:
    assert end_of_token(text, NOW_US) == end_us


@pytest.mark.parametrize("text", ["", "90", "1y", "0d", "2026-11-30", "2026-12-01T00:00", "Never", "2026-13-01"])
def test_another_expiry_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="invalid expiry"):
        end_of_token(text, NOW_US)


@given(st.binary(min_size=32, max_size=32), st.none() | st.integers(0, 2**53 - 1))
def test_no_command_event_row_or_text_holds_the_secret(random: bytes, expires_at_us: int | None) -> None:
    secret = make_secret(random)
    command = CreateToken("ci", ("read",), ("*",), expires_at_us, secret_digest(STORE, secret), STORE)
    [payload] = decided(command, LogState())
    assert isinstance(payload, TokenCreated)
    [stored] = stored_events([payload])
    request = CommandRequest(package_id_of(3), command, "ann", None)
    held = [
        encode_payload(payload),
        stored.event.payload,
        stored.event.subject.encode(),
        command_digest(command, "ann").encode(),
        TOKEN_CREATED.describe(payload).encode(),
        *(repr(each).encode() for each in (command, request, payload, stored, TOKEN_CREATED.rows(payload, stored))),
        repr(command.asked()).encode(),
        repr(evolved(LogState(), command)).encode(),
    ]
    for each in held:
        assert secret.encode() not in each
        assert random.hex().encode() not in each
        assert random not in each
