"""Object keys: the names of objects in backends. A key belongs to the same content for ever.

The first key of a content follows from its address. The bytes at a key never change, and a retired key is never used
again. So a content that must be stored again gets the key of its next generation. Code that reads an object uses the
key in the object's row, and never computes the key.
"""

import re
from collections.abc import Iterable
from typing import Final

from artifactstore_protocols.identity import ContentAddress, Digest
from artifactstore_protocols.storage_errors import KeyRefused

__all__ = ["check_object_key", "first_key", "first_key_of", "latest_key", "next_key", "parse_key"]

_KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}(/[a-z0-9][a-z0-9._-]{0,254})*")
_KEY_CHARS_MAX: Final = 1024
_RESERVED_PARTS: Final = frozenset({"artifactstore-root", "small", "tmp", "uploads"})
_CONTENT_KEY: Final = re.compile(r"(?P<algorithm>[^/]+)/../../(?P<hex>[0-9a-f]+)(\.g(?P<generation>[1-9][0-9]{0,8}))?")
_SHOWN_CHARS: Final = 80


def first_key(address: ContentAddress) -> str:
    """Return a content's first key: `<algorithm>/<hex[0:2]>/<hex[2:4]>/<hex>`, which keeps directories small."""
    return first_key_of(address.digest.algorithm, address.digest.hex)


def first_key_of(algorithm: str, digest_hex: str) -> str:
    """Return a content's first key from the parts of its address, for loops over many contents."""
    return f"{algorithm}/{digest_hex[0:2]}/{digest_hex[2:4]}/{digest_hex}"


def next_key(object_key: str) -> str:
    """Return the key of the next generation: `….g2` after the first key, `….g3` after `….g2`.

    Raises:
        KeyRefused, InvalidValue: `object_key` is not the key of a content; see `parse_key`.
    """
    address, generation = parse_key(object_key)
    return f"{first_key(address)}.g{generation + 1}"


def latest_key(object_keys: Iterable[str]) -> str:
    """Return the key of the latest generation among keys of one content.

    Raises:
        KeyRefused, InvalidValue: a key is not the key of a content; see `parse_key`.
    """
    return max(object_keys, key=lambda object_key: parse_key(object_key)[1])


def parse_key(object_key: str) -> tuple[ContentAddress, int]:
    """Return the content that a key belongs to, and the key's generation, counted from 1.

    Raises:
        KeyRefused: the key does not have the form that `first_key` and `next_key` return.
        InvalidValue: the key names an unknown algorithm, or has a digest of the wrong length.
    """
    found = _CONTENT_KEY.fullmatch(object_key)
    if found is not None:
        address = ContentAddress(Digest(found["algorithm"], found["hex"]))
        generation = int(found["generation"] or 1)
        suffix = "" if generation == 1 else f".g{generation}"
        if object_key == first_key(address) + suffix:
            return address, generation
    raise KeyRefused(object_key[:_SHOWN_CHARS], "a content's key is <algorithm>/<hex[0:2]>/<hex[2:4]>/<hex>[.g<n>]")


def check_object_key(object_key: str) -> None:
    """Refuse a key that could leave a root or be ambiguous. Every backend calls this before it uses a key.

    A key has one or more parts, joined by `/`. A part has 1 to 255 characters: lower-case ASCII letters, digits, `.`,
    `_` and `-`. It begins with a letter or a digit. A key has at most 1,024 characters. So a key cannot contain `..`,
    and cannot be an absolute path, have a drive letter, name a hidden file, or differ from another key only by case.
    Keys that begin with `artifactstore-root`, `small`, `tmp` or `uploads` as their first part are reserved.

    Raises:
        KeyRefused: the key breaks one of these rules.
    """
    if len(object_key) > _KEY_CHARS_MAX:
        raise KeyRefused(object_key[:_SHOWN_CHARS], f"it is longer than {_KEY_CHARS_MAX} characters")
    if _KEY.fullmatch(object_key) is None:
        reason = "join parts of [a-z0-9._-], a letter or digit first, by single slashes"
        raise KeyRefused(object_key[:_SHOWN_CHARS], reason)
    if (part := object_key.partition("/")[0]) in _RESERVED_PARTS:
        raise KeyRefused(object_key[:_SHOWN_CHARS], f"keys below {part!r} are reserved")
