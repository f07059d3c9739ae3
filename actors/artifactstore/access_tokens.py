"""Making tokens and recognizing them. A secret exists only here and with its owner, and nothing else ever gets it."""

import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from artifactstore.environment import environment
from artifactstore.expiry import check_clock_of
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.events import Committed
from artifactstore_protocols.token_records import CreateToken, RevokeToken, Token, end_of_token
from artifactstore_protocols.tokens import (
    SECRET_BYTES,
    Grant,
    Scope,
    Secret,
    TokenInvalid,
    TokenNotFound,
    check_token_name,
    in_order,
    is_secret,
    make_secret,
    secret_digest,
)

__all__ = ["create_token", "get_token", "identify", "listed_tokens", "revoke_token"]

_PAGE = 500

type Commit = Callable[[CreateToken | RevokeToken], Awaitable[Committed]]


async def create_token(
    store: EventStore, commit: Commit, name: str, *, scopes: Sequence[Scope], packages: Sequence[str], expires: str
) -> Secret:
    """Create a token and return its secret. The command has only the digest of the secret.

    Raises:
        TokenNameTaken: a token of this name exists or existed.
        ClockDoubtful: the clock differs too much from the time that the store saw last, so the end would be wrong.
        InvalidValue: the name, a scope, a glob or the expiry is none.
    """
    now_us = environment.get().now_us()
    end_us = end_of_token(expires, now_us)
    if end_us is not None:
        await check_clock_of(store, now_us)
    secret = make_secret(environment.get().random_bits(8 * SECRET_BYTES).to_bytes(SECRET_BYTES))
    store_id = (await store.token_frame()).store_id
    globs = tuple(sorted(set(packages)))
    await commit(CreateToken(name, in_order(scopes), globs, end_us, secret_digest(store_id, secret), store_id))
    return secret


async def revoke_token(store: EventStore, commit: Commit, name: str, reason: str) -> Token:
    """Revoke a token, and return it. One that is revoked already stays as it is.

    Raises:
        TokenNotFound: there is no such token.
    """
    await commit(RevokeToken(name, reason))
    return await get_token(store, name)


async def get_token(store: EventStore, name: str) -> Token:
    """Return a token.

    Raises:
        TokenNotFound: there is no such token.
    """
    check_token_name(name)
    found = await store.token(name)
    if found is None:
        raise TokenNotFound(name)
    frame = await store.token_frame()
    return Token.of(found, frame.state(found, environment.get().now_us()))


async def listed_tokens(store: EventStore) -> AsyncGenerator[Token]:
    """Yield every token in the order of the names, read in pages."""
    frame, now_us = await store.token_frame(), environment.get().now_us()
    after = ""
    while page := await store.tokens(after=after, limit=_PAGE):
        for each in page:
            yield Token.of(each, frame.state(each, now_us))
        after = page[-1].grant.name


async def identify(store: EventStore, secret: str) -> Grant:
    """Return what the token of a secret allows.

    Raises:
        TokenInvalid: no token has this secret, or the token does not work. The error does not say which.
    """
    if not is_secret(secret):
        raise TokenInvalid
    digest = b""

    def digest_in(store_id: str) -> bytes:
        nonlocal digest
        digest = secret_digest(store_id, secret)
        return digest

    frame, found = await store.find_token(digest_in)
    now_us = environment.get().now_us()
    # The database has looked for the digest already. Comparing it here holds even if an index of the database is wrong.
    if found is None or not hmac.compare_digest(found.digest, digest) or frame.state(found, now_us) != "active":
        raise TokenInvalid
    return found.grant
