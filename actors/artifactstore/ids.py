"""Identifiers that sort by the millisecond of their creation, and the current time."""

from artifactstore.environment import environment
from artifactstore_protocols.ids import uuid7

__all__ = ["new_id", "now_us"]


def new_id() -> str:
    """Return a new UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    here = environment.get()
    return uuid7(here.now_us() // 1000, here.random_bits(74))


def now_us() -> int:
    """Return the current time in microseconds since the epoch, UTC."""
    return environment.get().now_us()
