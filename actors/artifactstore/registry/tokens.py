"""Methods of the registry for tokens."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from artifactstore.arguments import checked
from artifactstore.registry.base import DEFAULT_PRINCIPAL, StoreCalls
from artifactstore_protocols.token_records import Token
from artifactstore_protocols.tokens import ALL_PACKAGES, Grant, Scope, Secret

__all__ = ["TokenCalls"]


class TokenCalls(StoreCalls):
    """The methods for tokens."""

    @checked
    async def create_token(
        self,
        name: str,
        *,
        scopes: Sequence[Scope],
        packages: Sequence[str] = (ALL_PACKAGES,),
        expires: str = "90d",
        principal: str = DEFAULT_PRINCIPAL,
    ) -> Secret:
        """Create a token for the service, and return its secret, which nothing can show again.

        If the outcome is unknown, revoke the token and create another one: its secret is lost.

        Args:
            name: 1 to 100 of A-Z, a-z, 0-9, `.`, `_` and `-`, the first a letter or a digit. No other token has or had
                this name. The principal of what the token does is `token:` and the name.
            scopes: what the token may do: `read`, `write`, `tag`, `delete`, `admin`. No scope includes another one.
            packages: globs for the names of the packages with which it may do so. One with `admin` is for all.
            expires: when it ends: `90d` (or m, h, w) from now, a day, a time, or `never`.
            principal: the principal.

        Raises:
            TokenNameTaken: a token of this name exists or existed.
            ClockDoubtful: the clock is behind the time that the store saw last, or more than 31 days ahead of it.
            InvalidValue: the name, a scope, a glob or the expiry is none.
        """
        from artifactstore.access_tokens import create_token  # noqa: PLC0415 - see above

        return await create_token(
            self._store,
            lambda command: self._commit(command, principal, None),
            name,
            scopes=scopes,
            packages=packages,
            expires=expires,
        )

    @checked
    async def get_token(self, name: str) -> Token:
        """Return a token, without its secret.

        Raises:
            TokenNotFound: there is no such token.
        """
        from artifactstore.access_tokens import get_token  # noqa: PLC0415 - see above

        return await get_token(self._store, name)

    @checked
    async def list_tokens(self) -> AsyncGenerator[Token]:
        """Yield every token in the order of the names, also those that were revoked, have expired or were imported."""
        from artifactstore.access_tokens import listed_tokens  # noqa: PLC0415 - see above

        async with aclosing(listed_tokens(self._store)) as tokens:
            async for each in tokens:
                yield each

    @checked
    async def revoke_token(self, name: str, reason: str, *, principal: str = DEFAULT_PRINCIPAL) -> Token:
        """Revoke a token for good, and return it. A token that is revoked already does not change.

        Args:
            name: the name of the token, which is never used again.
            reason: why, in 1 to 200 printable characters.
            principal: the principal.

        Raises:
            TokenNotFound: there is no such token.
        """
        from artifactstore.access_tokens import revoke_token  # noqa: PLC0415 - see above

        return await revoke_token(self._store, lambda command: self._commit(command, principal, None), name, reason)

    @checked
    async def identify(self, secret: str) -> Grant:
        """Return what the token of a secret allows. It works from its creation until its end or its revocation.

        Raises:
            TokenInvalid: no token of this store has the secret, or the token is revoked or has expired, or the text is
                no secret. The error does not say which.
        """
        from artifactstore.access_tokens import identify  # noqa: PLC0415 - see above

        return await identify(self._store, secret)
