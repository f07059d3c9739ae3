"""Digests, content addresses, and a hasher that computes both digests of a content in one pass.

Every content has a primary digest, which is its address, and a SHA-256. Wrong bytes pass for right ones only if both
independent functions fail, and OCI clients can be served without a second pass. Algorithms are registered by name;
`blake3` and `sha256` are registered at import. Nothing here reads a file: callers pass the bytes.
"""

import hashlib
import re
from collections.abc import Buffer, Callable
from functools import partial
from typing import Final, Protocol, Self, override

from blake3 import blake3
from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue

__all__ = [
    "PRIMARY_ALGORITHM",
    "ContentAddress",
    "ContentDigests",
    "ContentHasher",
    "Digest",
    "Hasher",
    "digest_length",
    "digest_of",
    "digests_of",
    "new_hasher",
    "register_algorithm",
]

PRIMARY_ALGORITHM: Final = "blake3"
_SECOND_ALGORITHM: Final = "sha256"

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_HEX: Final = re.compile("[0-9a-f]*")
_SHOWN_CHARS: Final = 80


class Hasher(Protocol):
    """A hash in progress, with the methods of `hashlib` and `blake3`."""

    def update(self, data: Buffer, /) -> object:
        """Add the next bytes to the hash."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far, in lower-case hex; more updates may follow."""
        ...


class _Algorithm(Struct, frozen=True):
    factory: Callable[[], Hasher]
    hex_chars: int


_ALGORITHMS: Final[dict[str, _Algorithm]] = {}


def register_algorithm(name: str, factory: Callable[[], Hasher], digest_bytes: int) -> None:
    """Register a hash algorithm under a name; the same registration again changes nothing.

    Args:
        name: 1 to 32 lower-case letters, digits and hyphens, beginning with a letter; it becomes part of stored
            addresses.
        factory: makes a new hasher. The hasher must release the GIL on large updates, because worker threads run beside
            an event loop.
        digest_bytes: the length of the digest.

    Raises:
        InvalidValue: the name or the length is invalid, or the name is registered with another factory or length.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidValue("algorithm name", name[:_SHOWN_CHARS], "use lower-case letters, digits and hyphens")
    if digest_bytes < 1:
        raise InvalidValue("digest length", str(digest_bytes), "give the length in bytes, 1 or more")
    algorithm = _Algorithm(factory, 2 * digest_bytes)
    if _ALGORITHMS.setdefault(name, algorithm) != algorithm:
        raise InvalidValue("algorithm name", name, "it is registered with another factory; choose another name")


def _algorithm(name: str) -> _Algorithm:
    try:
        return _ALGORITHMS[name]
    except KeyError:
        known = ", ".join(sorted(_ALGORITHMS))
        raise InvalidValue("algorithm", name[:_SHOWN_CHARS], f"use one that is registered: {known}") from None


def new_hasher(algorithm: str) -> Hasher:
    """Return a new hasher of a registered algorithm.

    Raises:
        InvalidValue: no such algorithm is registered.
    """
    return _algorithm(algorithm).factory()


def digest_length(algorithm: str) -> int:
    """Return the length of a registered algorithm's digests in bytes.

    Raises:
        InvalidValue: no such algorithm is registered.
    """
    return _algorithm(algorithm).hex_chars // 2


register_algorithm("blake3", blake3, 32)
register_algorithm("sha256", hashlib.sha256, 32)


class Digest(Struct, frozen=True, order=True, gc=False):
    """A digest of a registered algorithm, ordered by algorithm, then by hex.

    Attributes:
        algorithm: the registered name, such as `blake3`.
        hex: the digest in lower-case hex, of exactly the algorithm's length.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        hex_chars = _algorithm(self.algorithm).hex_chars
        if len(self.hex) != hex_chars or _HEX.fullmatch(self.hex) is None:
            reason = f"a {self.algorithm} digest is {hex_chars} lower-case hex characters"
            raise InvalidValue("digest", self.hex[:_SHOWN_CHARS], reason)

    @property
    def raw(self) -> bytes:
        """The digest's bytes."""
        return bytes.fromhex(self.hex)


class ContentAddress(Struct, frozen=True, order=True, gc=False):
    """The address of a content, equal in every store: `<algorithm>:<hex>` of its primary digest."""

    digest: Digest

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `<algorithm>:<hex>`. Only texts that `str()` returns are accepted.

        Raises:
            InvalidValue: the text has no colon, an unknown algorithm, or a digest of the wrong form.
        """
        algorithm, colon, hex_digits = text.partition(":")
        if not colon:
            raise InvalidValue("content address", text[:_SHOWN_CHARS], "write it as <algorithm>:<hex>")
        return cls(Digest(algorithm, hex_digits))

    @override
    def __str__(self) -> str:
        return f"{self.digest.algorithm}:{self.digest.hex}"


class ContentDigests(Struct, frozen=True, gc=False):
    """The two digests of one content.

    Attributes:
        primary: the digest that the content is stored under.
        sha256: the SHA-256 digest; equal to `primary` if that is SHA-256 too.
    """

    primary: Digest
    sha256: Digest

    def __post_init__(self) -> None:
        if self.sha256.algorithm != _SECOND_ALGORITHM:
            raise InvalidValue("second digest", self.sha256.algorithm, "the second digest is always sha256")
        if self.primary.algorithm == _SECOND_ALGORITHM and self.primary != self.sha256:
            raise InvalidValue("digest pair", self.primary.hex, "one content has one sha256")

    @property
    def content_address(self) -> ContentAddress:
        """The address of the content: its primary digest."""
        return ContentAddress(self.primary)


class ContentHasher:
    """A hasher that computes both digests and the size of a content in one pass.

    It is synchronous, for worker threads. Use it from one thread at a time, or with `feeds` from one thread for each
    hash. Feed 8 MiB or more at once if available: both hashes release the GIL while they work, and each release beside
    a busy event loop can cost a switch interval.
    """

    __slots__ = ("_hashers", "_primary", "_size_bytes")

    def __init__(self, primary: str = PRIMARY_ALGORITHM) -> None:
        self._primary = primary
        self._hashers = {name: new_hasher(name) for name in (primary, _SECOND_ALGORITHM)}
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """The number of bytes hashed so far."""
        return self._size_bytes

    def update(self, buffer: Buffer) -> None:
        """Add the next bytes to both hashes."""
        for algorithm in self._hashers:
            self._feed(algorithm, buffer)

    def feeds(self) -> tuple[Callable[[Buffer], None], ...]:
        """Return one function for each hash. Pass every piece to each one in order; each may run in its own thread."""
        return tuple(partial(self._feed, name) for name in self._hashers)

    def _feed(self, algorithm: str, buffer: Buffer) -> None:
        with memoryview(buffer) as view:
            self._hashers[algorithm].update(view)
            if algorithm == self._primary:
                self._size_bytes += view.nbytes

    def digests(self) -> ContentDigests:
        """Return the digests of all bytes so far; more updates may follow."""
        return ContentDigests(self._digest(self._primary), self._digest(_SECOND_ALGORITHM))

    def _digest(self, algorithm: str) -> Digest:
        return Digest(algorithm, self._hashers[algorithm].hexdigest())


def digests_of(content: Buffer, algorithm: str = PRIMARY_ALGORITHM) -> ContentDigests:
    """Return both digests of a content in memory."""
    return ContentDigests(digest_of(content, algorithm), digest_of(content, _SECOND_ALGORITHM))


def digest_of(content: Buffer, algorithm: str) -> Digest:
    """Return the digest of a content in memory, under a registered algorithm."""
    hasher = new_hasher(algorithm)
    hasher.update(content)
    return Digest(algorithm, hasher.hexdigest())
