"""Which token a request has: the registry knows tokens by the digests of their secrets."""

from artifactstore.registry import Registry
from artifactstore_protocols.tokens import Grant, TokenInvalid, is_secret

__all__ = ["identify_token"]


async def identify_token(registry: Registry, secret: str) -> Grant:
    """Return what the token with this secret allows.

    Raises:
        TokenInvalid: no token of this store has this secret, or it is revoked or has expired.
    """
    if not is_secret(secret):  # no query for what cannot be one
        raise TokenInvalid
    return await registry.identify(secret)
