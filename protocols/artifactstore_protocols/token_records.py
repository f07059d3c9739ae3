"""Tokens as a store has them: their commands, what its table holds, what it shows, and when one counts.

Neither a command nor a record holds a secret. The store's table holds the digest, which no record shows.
"""

from typing import Final, Literal, override

from msgspec import Struct

from artifactstore_protocols.canonical import INTEGER_MAX, RecordValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.life_cycle import LifeCycleCommand
from artifactstore_protocols.moments import duration_us, span_of, time_text
from artifactstore_protocols.names import check_name
from artifactstore_protocols.tokens import Grant, Scope, check_grant, check_token_name
from artifactstore_protocols.typed import check_fields

__all__ = [
    "NEVER",
    "CreateToken",
    "RevokeToken",
    "StoredToken",
    "Token",
    "TokenFrame",
    "TokenState",
    "end_of_token",
    "token_state",
    "token_time",
]

type TokenState = Literal["active", "revoked", "expired", "imported"]
"""Whether a token works. Only an `active` one does. An `imported` one came from another store with its log."""

NEVER: Final = "never"
"""The expiry of a token that never ends."""

_DIGEST_BYTES: Final = 32


class CreateToken(LifeCycleCommand, frozen=True):
    """A command that creates a token, by the digest of its secret.

    Attributes:
        name: its name, which no token of the store has or had.
        scopes: what it may do, in the order of `SCOPES`.
        packages: globs for the names of the packages with which it may do so, sorted.
        expires_at_us: when it ends, in microseconds since 1970 UTC; None for never.
        digest: the digest of its secret; see `secret_digest`.
        store_id: the store id that the digest belongs to.
    """

    name: str
    scopes: tuple[Scope, ...]
    packages: tuple[str, ...]
    expires_at_us: int | None
    digest: bytes
    store_id: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_grant(Grant(self.name, self.scopes, self.packages, self.expires_at_us))
        if self.expires_at_us is not None and self.expires_at_us > INTEGER_MAX:
            raise InvalidValue("expiry", str(self.expires_at_us)[:60], "it is in microseconds since 1970 UTC")
        if len(self.digest) != _DIGEST_BYTES:
            raise InvalidValue("token digest", self.digest.hex()[:80], f"it has {_DIGEST_BYTES} bytes")
        check_id("store id", self.store_id)

    @override
    def asked(self) -> list[RecordValue]:
        scopes, packages = list[RecordValue](self.scopes), list[RecordValue](self.packages)
        return ["token", self.name, scopes, packages, self.expires_at_us, self.digest, self.store_id]


class RevokeToken(LifeCycleCommand, frozen=True):
    """A command that revokes a token for good.

    Attributes:
        name: its name.
        reason: why, in 1 to 200 printable characters.
    """

    name: str
    reason: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_token_name(self.name)
        check_name("reason", self.reason)

    @override
    def asked(self) -> list[RecordValue]:
        return ["revoke token", self.name, self.reason]


class StoredToken(Struct, frozen=True):
    """A token as the table has it.

    Attributes:
        grant: what it allows.
        digest: the digest of its secret.
        store_id: the store id that the digest belongs to.
        created_by: the principal that created it.
        created_at_us: when, in microseconds since 1970 UTC.
        sequence: the sequence of that event.
        revoked_at_us: when it was revoked; None if it was not, as for the next two.
        revoked_by: the principal that revoked it.
        revoked_reason: the reason that this principal gave.
    """

    grant: Grant
    digest: bytes
    store_id: str
    created_by: str
    created_at_us: int
    sequence: int
    revoked_at_us: int | None = None
    revoked_by: str | None = None
    revoked_reason: str | None = None


class TokenFrame(Struct, frozen=True):
    """What decides beside a token whether it works.

    Attributes:
        store_id: the store id that the digests of this store's tokens belong to: its own, or that of the backup that
            was restored into it.
        seen_us: the time that the store saw last, in microseconds since 1970 UTC; None in an empty log.
    """

    store_id: str
    seen_us: int | None

    def state(self, stored: StoredToken, now_us: int) -> TokenState:
        """Return whether a token works, at a time by the clock."""
        return token_state(stored, self.store_id, token_time(now_us, self.seen_us))


class Token(Struct, frozen=True):
    """A token. Nothing shows its secret.

    Attributes:
        name: its name. The principal of what it does is `token:` and its name.
        state: whether it works: `active`, `revoked`, `expired` or `imported`.
        scopes: what it may do.
        packages: globs for the names of the packages with which it may do so.
        expires_at_us: when it ends, in microseconds since 1970 UTC; None for never.
        created_by: the principal that created it.
        created_at_us: when, in microseconds since 1970 UTC.
        sequence: the sequence of that event.
        revoked_at_us: when it was revoked; None if it was not, as for the next two.
        revoked_by: the principal that revoked it.
        revoked_reason: the reason that this principal gave.
    """

    name: str
    state: TokenState
    scopes: tuple[Scope, ...]
    packages: tuple[str, ...]
    expires_at_us: int | None
    created_by: str
    created_at_us: int
    sequence: int
    revoked_at_us: int | None = None
    revoked_by: str | None = None
    revoked_reason: str | None = None

    @classmethod
    def of(cls, stored: StoredToken, state: TokenState) -> "Token":
        """Return what a store shows of a token."""
        grant = stored.grant
        return cls(
            grant.name,
            state,
            grant.scopes,
            grant.packages,
            grant.expires_at_us,
            stored.created_by,
            stored.created_at_us,
            stored.sequence,
            stored.revoked_at_us,
            stored.revoked_by,
            stored.revoked_reason,
        )


def token_state(stored: StoredToken, store_id: str, time_us: int) -> TokenState:
    """Return whether a token works in a store at a time; see `token_time`."""
    if stored.revoked_at_us is not None:
        return "revoked"
    if stored.store_id != store_id:
        return "imported"
    if stored.grant.expires_at_us is not None and stored.grant.expires_at_us <= time_us:
        return "expired"
    return "active"


def token_time(now_us: int, seen_us: int | None) -> int:
    """Return the time that decides whether a token has expired: the later one of the clock and what the store saw last.

    So a clock that was set back brings no token back. A clock that is ahead ends tokens early, which is safe, and they
    work again once it is right.
    """
    return now_us if seen_us is None else max(now_us, seen_us)


def end_of_token(expires: str, now_us: int) -> int | None:
    """Return when a token ends that is created now, in microseconds since 1970 UTC; None for never.

    Args:
        expires: a duration such as `90d` (or m, h, w); a day such as 2027-03-31, at whose end it ends; a time such as
            2027-03-31T12:00; or `NEVER`.
        now_us: the time, in microseconds since 1970 UTC.

    Raises:
        InvalidValue: the text is none of these, or the time has passed.
    """
    if expires == NEVER:
        return None
    if (longer_us := duration_us(expires)) is not None:
        end_us = now_us + longer_us
    elif (span := span_of(expires)) is not None:
        end_us = span[1] if "T" not in expires else span[0]
    else:
        reason = f"write 90d (or m, h, w), a day such as 2027-03-31, a time such as 2027-03-31T12:00, or {NEVER}"
        raise InvalidValue("expiry", expires[:60], reason)
    if not now_us < end_us <= INTEGER_MAX:
        raise InvalidValue("expiry", expires[:60], f"it is not after the present time, {time_text(now_us)}")
    return end_us
