"""Access tokens: what a token allows, the form of its secret, and the digest that a store keeps of it.

A secret is `ast_`, 256 random bits as 64 hex digits, and 8 hex digits of a checksum. So a scanner finds a leaked one,
and a misspelt one is known without a store. A store keeps SHA-256(store id ‖ secret) and never the secret. A log that
is imported into another store brings its tokens, but their digests fit no secret there.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final, Literal, override

from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.globs import check_glob, glob_matcher
from artifactstore_protocols.names import check_name

__all__ = [
    "ALL_PACKAGES",
    "PACKAGE_GLOBS_MAX",
    "SCOPES",
    "SECRET_BYTES",
    "SECRET_PREFIX",
    "Grant",
    "Scope",
    "Secret",
    "TokenInvalid",
    "TokenNameTaken",
    "TokenNotFound",
    "check_grant",
    "check_scope",
    "check_token_name",
    "in_order",
    "is_secret",
    "make_secret",
    "secret_digest",
    "token_principal",
]

type Scope = Literal["read", "write", "tag", "delete", "admin"]
"""What a token may do with the packages that it names. No scope includes another one.

`read` lists and reads packages. `write` creates, fills, annotates and finalizes them. `tag` sets and deletes tags.
`delete` deletes packages and changes how long they are kept. `admin` administers the store as a whole.
"""

SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "tag", "delete", "admin")
"""Every scope, in the order in which they are shown."""

ALL_PACKAGES: Final = "*"
"""The glob of a token for every package."""

PACKAGE_GLOBS_MAX: Final = 32
"""The most globs of one token. All of them are compared with a name."""

SECRET_PREFIX: Final = "ast_"  # noqa: S105 - what every secret begins with
SECRET_BYTES: Final = 32
"""The number of random bytes in a secret."""

_CHECKSUM_DIGITS: Final = 8
_SECRET: Final = re.compile(rf"{SECRET_PREFIX}[0-9a-f]{{{2 * SECRET_BYTES + _CHECKSUM_DIGITS}}}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PRINCIPAL: Final = "token:"


class Secret(str):
    """The secret of a token: a text whose `repr` does not show it, so that no traceback or log line does."""

    __slots__ = ()

    @override
    def __repr__(self) -> str:
        return f"Secret('{SECRET_PREFIX}...')"


class TokenInvalid(ArtifactStoreError):
    """No token of this store has this secret, or the token is revoked or has expired. The error does not say which."""

    template = (
        "the token is not valid: it is unknown here, revoked, expired or misspelt; "
        "ask for another one, which `artifactstore token create` makes"
    )


class TokenNameTaken(ArtifactStoreError):
    """A token of this name exists or existed. A name is never used again, so that a principal is always one token."""

    name: str
    template = (
        "the token name {self.name!r} is taken, and a name is never used again; "
        "choose another one, such as '{self.name}-2'"
    )


class TokenNotFound(ArtifactStoreError):
    """There is no token of this name."""

    name: str
    template = "there is no token {self.name!r}; `artifactstore token list` shows those that there are"


class Grant(Struct, frozen=True):
    """What a token allows, and to which principal.

    Attributes:
        name: the name of the token.
        scopes: what it may do, in the order of `SCOPES`.
        packages: globs for the names of the packages with which it may do so.
        expires_at_us: when it ends, in microseconds since 1970 UTC; None for never.
    """

    name: str
    scopes: tuple[Scope, ...]
    packages: tuple[str, ...]
    expires_at_us: int | None

    @property
    def principal(self) -> str:
        """The principal of what the token does: `token:` and its name."""
        return token_principal(self.name)

    def allows(self, scope: Scope, package_name: str | None = None) -> bool:
        """Return whether the token may do something with a package of this name; None for the store as a whole.

        Only a token for all packages may do something with the store as a whole.
        """
        if scope not in self.scopes:
            return False
        if package_name is None:
            return ALL_PACKAGES in self.packages
        return any(glob_matcher(glob)(package_name) for glob in self.packages)


def token_principal(name: str) -> str:
    """Return the principal of a token."""
    return f"{_PRINCIPAL}{name}"


def check_token_name(name: str) -> None:
    """Check the name of a token.

    Raises:
        InvalidValue: it is no name.
    """
    if _NAME.fullmatch(name) is None:
        reason = "use 1 to 100 of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter or a digit"
        raise InvalidValue("token name", name[:60], reason)


def check_scope(scope: str) -> None:
    """Check the name of a scope.

    Raises:
        InvalidValue: it is none.
    """
    if scope not in SCOPES:
        raise InvalidValue("scope", scope[:60], f"use {', '.join(SCOPES[:-1])} or {SCOPES[-1]}")


def check_grant(grant: Grant) -> None:
    """Check what a token allows.

    Raises:
        InvalidValue: the name is none; the scopes or the globs are none or not in order; or an admin is not for `*`.
    """
    check_token_name(grant.name)
    for scope in grant.scopes:
        check_scope(scope)
    if not grant.scopes or grant.scopes != in_order(grant.scopes):
        reason = f"name at least one of {', '.join(SCOPES)}, each once and in this order"
        raise InvalidValue("scopes", ", ".join(grant.scopes)[:60], reason)
    globs = grant.packages
    if not 0 < len(globs) <= PACKAGE_GLOBS_MAX or list(globs) != sorted(set(globs)):
        reason = f"name 1 to {PACKAGE_GLOBS_MAX} globs for package names, each once and sorted"
        raise InvalidValue("packages", ", ".join(globs)[:60], reason)
    for glob in globs:
        check_name("package name glob", glob)
        check_glob(glob)
    if "admin" in grant.scopes and ALL_PACKAGES not in globs:
        reason = f"a token with the scope admin is for the whole store; use {ALL_PACKAGES!r}, or leave out admin"
        raise InvalidValue("packages", ", ".join(globs)[:60], reason)


def in_order(scopes: Iterable[str]) -> tuple[Scope, ...]:
    """Return scopes in the order of `SCOPES`, each once."""
    given = set(scopes)
    return tuple(scope for scope in SCOPES if scope in given)


def make_secret(random_bytes: bytes) -> Secret:
    """Return the secret that has these random bytes.

    Raises:
        InvalidValue: they are not `SECRET_BYTES` bytes.
    """
    if len(random_bytes) != SECRET_BYTES:
        raise InvalidValue("random bytes", str(len(random_bytes)), f"give {SECRET_BYTES} of them")
    begun = f"{SECRET_PREFIX}{random_bytes.hex()}"
    return Secret(begun + _checksum(begun))


def is_secret(text: str) -> bool:
    """Return whether a text has the form of a secret, with the right checksum. Any store, or none, may know it."""
    return _SECRET.fullmatch(text) is not None and text[-_CHECKSUM_DIGITS:] == _checksum(text[:-_CHECKSUM_DIGITS])


def _checksum(begun: str) -> str:
    return hashlib.sha256(begun.encode()).hexdigest()[:_CHECKSUM_DIGITS]


def secret_digest(store_id: str, secret: str) -> bytes:
    """Return the digest of a secret in one store: SHA-256(store id ‖ secret).

    The store id is a UUID, which always has the same length, so no two pairs are one text.
    """
    return hashlib.sha256(f"{store_id}{secret}".encode()).digest()
