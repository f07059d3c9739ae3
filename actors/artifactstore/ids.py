"""Identifiers that sort by the time they were made."""

import secrets
import time
import uuid

__all__ = ["new_id", "now_us"]

_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random_a, random_b = secrets.randbits(12), secrets.randbits(62)
    return str(uuid.UUID(int=milliseconds << 80 | _VERSION_7 | random_a << 64 | _VARIANT | random_b))


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000
