"""Identifiers that sort by the time they were made."""

from artifactstore.environment import environment
from artifactstore_protocols.ids import uuid7

__all__ = ["new_id", "now_us"]


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits."""
    here = environment.get()
    return uuid7(here.now_us() // 1000, here.random_bits(74))


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return environment.get().now_us()
