"""`v1.token.created`: a token was created. The event has the digest of its secret, and never the secret."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.event_types.base import Codec, EventType, PayloadInvalid, fields_of
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.token_records import CreateToken
from artifactstore_protocols.tokens import Scope, TokenNameTaken, token_principal
from artifactstore_protocols.views import TOKENS, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["TOKEN_CREATED", "TokenCreated", "create_token"]

_NAME: Final = "v1.token.created"


class TokenCreated(Struct, frozen=True):
    """A token was created. The subject is `token:` and its name, which is also the principal of what the token does.

    Attributes:
        name: its name, which no other token of the log has.
        scopes: what it may do: `read`, `write`, `tag`, `delete`, `admin`, in this order.
        packages: globs for the names of the packages with which it may do so, sorted.
        expires_at_us: when it ends, in microseconds since 1970 UTC; null for never.
        digest: SHA-256 over the store id and the secret.
        store_id: the store id that the digest belongs to. The token works in no other store.
    """

    name: str
    scopes: tuple[str, ...]
    packages: tuple[str, ...]
    expires_at_us: int | None
    digest: bytes
    store_id: str


def create_token(command: CreateToken, state: LogState) -> TokenCreated:
    """Return the payload that creates a token.

    Raises:
        TokenNameTaken: a token of this name exists or existed.
    """
    if command.name in state.tokens:
        raise TokenNameTaken(command.name)
    return TokenCreated(
        command.name, command.scopes, command.packages, command.expires_at_us, command.digest, command.store_id
    )


def _encode(payload: TokenCreated) -> bytes:
    return canonical.encode_record(
        {
            "name": payload.name,
            "scopes": list[RecordValue](payload.scopes),
            "packages": list[RecordValue](payload.packages),
            "expires_at_us": payload.expires_at_us,
            "digest": payload.digest,
            "store_id": payload.store_id,
        }
    )


_TEXT, _LIST = frozenset[type]({str}), frozenset[type]({list})
_KINDS: Final = {
    "name": _TEXT,
    "scopes": _LIST,
    "packages": _LIST,
    "expires_at_us": frozenset[type]({int, type(None)}),
    "digest": frozenset[type]({bytes}),
    "store_id": _TEXT,
}


def _decode(content: bytes) -> TokenCreated:
    value = fields_of(_NAME, content, _KINDS)
    scopes, packages = (cast("list[object]", value[key]) for key in ("scopes", "packages"))
    if any(type(each) is not str for each in (*scopes, *packages)):
        raise PayloadInvalid(_NAME, "scopes and packages are lists of texts")
    return TokenCreated(
        cast("str", value["name"]),
        tuple(cast("list[str]", scopes)),
        tuple(cast("list[str]", packages)),
        cast("int | None", value["expires_at_us"]),
        cast("bytes", value["digest"]),
        cast("str", value["store_id"]),
    )


def _command(payload: TokenCreated) -> CreateToken:
    scopes = cast("tuple[Scope, ...]", payload.scopes)
    return CreateToken(payload.name, scopes, payload.packages, payload.expires_at_us, payload.digest, payload.store_id)


def _check(payload: TokenCreated, _event: "Event") -> None:
    _command(payload)


def _judge(payload: TokenCreated, _stored: "StoredEvent", state: LogState) -> None:
    create_token(_command(payload), state)


def _evolve(payload: TokenCreated, _stored: "StoredEvent", state: LogState) -> None:
    state.tokens[payload.name] = False


def _rows(payload: TokenCreated, stored: "StoredEvent") -> Iterable[RowOperation]:
    event = stored.event
    row: Row = (
        payload.name,
        ",".join(payload.scopes),
        canonical.encode(list(payload.packages)),
        payload.expires_at_us,
        payload.digest,
        payload.store_id,
        event.principal,
        event.recorded_at_us,
        None,
        None,
        None,
        stored.sequence,
    )
    return (Put(TOKENS, (row,)),)


def _describe(payload: TokenCreated) -> str:
    shown = ", ".join(payload.packages)
    packages = f"{shown[:200]}…" if len(shown) > 200 else shown  # noqa: PLR2004 - a line for people
    return f"created token {payload.name!r}: {', '.join(payload.scopes)} for {packages}"


TOKEN_CREATED: Final = EventType(
    name=_NAME,
    codec=Codec(_encode, _decode),
    subject=lambda payload: token_principal(payload.name),
    needs=lambda payload: Needs(tokens=frozenset({payload.name})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=_describe,
)
