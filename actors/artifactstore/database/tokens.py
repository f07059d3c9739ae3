"""Queries for tokens: for the commits that create and revoke them, for lists, and by the digest of a secret."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import Select, Table, func, select

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import Query, Steps, lookup, query, wanted
from artifactstore.database.cells import DamagedCell, time_in
from artifactstore.database.keeping import observed_clock
from artifactstore.database.schema import LIVE, ViewTables, events, log_head
from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import NotCanonical
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.token_records import StoredToken, TokenFrame
from artifactstore_protocols.tokens import Grant, Scope, check_grant
from artifactstore_protocols.views import TOKENS

__all__ = ["find_token", "load_tokens", "token", "token_frame", "token_query", "tokens"]

_tokens = LIVE[TOKENS]
_STORE_ID = select(func.coalesce(log_head.c.restored_store_id, log_head.c.store_id))
_LAST_TIME = select(events.c.recorded_at).order_by(events.c.sequence.desc()).limit(1)


def load_tokens(state: LogState, tables: ViewTables, needs: Needs, database: str) -> Steps[None]:
    """Load whether each of the needed tokens is revoked."""
    if needs.tokens:
        keys = [(name,) for name in sorted(needs.tokens)]
        for name, revoked_at in (yield lookup(_revocations(tables[TOKENS], database), keys)):
            state.tokens[name] = revoked_at is not None


@cache
def _revocations(table: Table, database: str) -> Query:
    values = wanted(database, name=str)
    return query(select(table.c.name, table.c.revoked_at).where(table.c.name == values["name"]), values, database)


async def token_frame(connection: AsyncConnection) -> TokenFrame:
    """Return what decides whether tokens work: the id that their digests belong to, and the time that was seen last."""
    store_id: str = (await connection.execute(_STORE_ID)).scalar_one()
    last_us: int | None = (await connection.execute(_LAST_TIME)).scalar_one_or_none()
    seen = [each for each in (last_us, await observed_clock(connection)) if each is not None]
    return TokenFrame(store_id, max(seen, default=None))


async def find_token(
    connection: AsyncConnection, digest_in: Callable[[str], bytes]
) -> tuple[TokenFrame, StoredToken | None]:
    """Return the frame, and the token whose digest the function returns for the store id; None if there is none."""
    frame = await token_frame(connection)
    row = (await connection.execute(token_query(digest_in(frame.store_id)))).one_or_none()
    return frame, None if row is None else _token(row)


def token_query(digest: bytes) -> Select[*tuple[Any, ...]]:
    """Return the query for the token with a digest. If a log from outside repeats one, it is the oldest token."""
    return _listed().where(_tokens.c.digest == digest).order_by(_tokens.c.sequence).limit(1)


async def token(connection: AsyncConnection, name: str) -> StoredToken | None:
    """Return the token of a name, or None."""
    row = (await connection.execute(_listed().where(_tokens.c.name == name))).one_or_none()
    return None if row is None else _token(row)


async def tokens(connection: AsyncConnection, after: str, limit: int) -> Sequence[StoredToken]:
    """Return up to `limit` tokens after a name, in the order of their names."""
    page = _listed().where(_tokens.c.name > after).order_by(_tokens.c.name).limit(limit)
    return [_token(row) for row in await connection.execute(page)]


def _listed() -> Select[*tuple[Any, ...]]:
    columns = _tokens.c
    return select(
        columns.name,
        columns.scopes,
        columns.packages,
        columns.expires_at,
        columns.digest,
        columns.store_id,
        columns.created_by,
        columns.created_at,
        columns.sequence,
        columns.revoked_at,
        columns.revoked_by,
        columns.revoked_reason,
    )


def _token(row: Sequence[Any]) -> StoredToken:
    """Return the token in a row.

    Raises:
        DamagedCell: artifactstore cannot have written the row.
    """
    name, scopes, packages, expires_at, digest, store_id, created_by, created_at, sequence, *revoked = row
    try:
        globs = cast("Sequence[str]", canonical.decode(packages))
        grant = Grant(name, cast("tuple[Scope, ...]", tuple(scopes.split(","))), tuple(globs), expires_at)
        check_grant(grant)
    except (NotCanonical, InvalidValue, TypeError) as error:
        raise DamagedCell(f"the token {name} is {error}") from error
    return StoredToken(grant, digest, store_id, created_by, time_in("created_at", created_at), sequence, *revoked)
