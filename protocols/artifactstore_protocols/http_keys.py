"""Idempotency keys of the HTTP API. Each belongs to one principal.

A log has one space of keys for all commands. The key that it keeps for a request is a digest over the principal and the
key that the client sent. So two tokens with the same key do not meet, and no key that a program chooses is one of these
by accident.
"""

import hashlib
from typing import Final

from artifactstore_protocols.names import check_name

__all__ = ["log_key"]

_PREFIX: Final = "http:"


def log_key(principal: str, key: str) -> str:
    """Return the idempotency key that the log keeps for a key of a principal.

    Raises:
        InvalidValue: the key is not 1 to 200 printable characters, or has a space at an end.
    """
    check_name("Idempotency-Key", key)
    # No principal contains NUL, so no two pairs are one text.
    return f"{_PREFIX}{hashlib.sha256(f'{principal}\0{key}'.encode()).hexdigest()}"
