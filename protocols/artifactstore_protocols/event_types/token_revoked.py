"""`v1.token.revoked`: a token was revoked, for good. Its name is never used again."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.token_records import RevokeToken
from artifactstore_protocols.tokens import TokenNotFound, token_principal
from artifactstore_protocols.views import TOKENS, Cell, RowOperation, Update

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["TOKEN_REVOKED", "TokenRevoked", "revoke_token"]


class TokenRevoked(Struct, frozen=True):
    """A token was revoked. The subject is `token:` and its name.

    Attributes:
        name: the name of the token.
        reason: the reason that its principal gave.
    """

    name: str
    reason: str


def revoke_token(command: RevokeToken, state: LogState) -> TokenRevoked | None:
    """Return the payload that revokes a token; None if it is revoked already.

    Raises:
        TokenNotFound: there is no such token.
    """
    is_revoked = state.tokens.get(command.name)
    if is_revoked is None:
        raise TokenNotFound(command.name)
    return None if is_revoked else TokenRevoked(command.name, command.reason)


def _command(payload: TokenRevoked) -> RevokeToken:
    return RevokeToken(payload.name, payload.reason)


def _check(payload: TokenRevoked, _event: "Event") -> None:
    _command(payload)


def _judge(payload: TokenRevoked, _stored: "StoredEvent", state: LogState) -> None:
    if revoke_token(_command(payload), state) is None:
        raise InvalidValue("token", payload.name, "it is revoked already")


def _evolve(payload: TokenRevoked, _stored: "StoredEvent", state: LogState) -> None:
    state.tokens[payload.name] = True


def _rows(payload: TokenRevoked, stored: "StoredEvent") -> Iterable[RowOperation]:
    event = stored.event
    revoked: dict[str, Cell] = {
        "revoked_at": event.recorded_at_us,
        "revoked_by": event.principal,
        "revoked_reason": payload.reason,
    }
    return (Update(TOKENS, (payload.name,), revoked),)


_NAME: Final = "v1.token.revoked"
TOKEN_REVOKED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, TokenRevoked),
    subject=lambda payload: token_principal(payload.name),
    needs=lambda payload: Needs(tokens=frozenset({payload.name})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"revoked token {payload.name!r}: {payload.reason}",
)
