"""Identifiers that sort by the time they were made."""

import uuid

from artifactstore.machine import machine

__all__ = ["new_id", "now_us"]

_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    here = machine.get()
    milliseconds = here.now_us() // 1000
    random_a, random_b = here.random_bits(12), here.random_bits(62)
    return str(uuid.UUID(int=milliseconds << 80 | _VERSION_7 | random_a << 64 | _VARIANT | random_b))


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return machine.get().now_us()
