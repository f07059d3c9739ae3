"""Retention classes: how long a finalized package is kept. Every store has the same five immutable classes.

A class name is resolved to its duration once, when a package is created, and the event records the duration. So a later
release with another table does not change the retention of existing packages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import override

from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = [
    "DEFAULT_RETENTION",
    "RETENTION_CLASSES",
    "RetentionClass",
    "UnknownRetentionClass",
    "is_permanent",
    "retention_class",
]

_DAY_US = 86_400_000_000


class RetentionClass(Struct, frozen=True):
    """A retention class: how long a package is kept after it was finalized.

    Attributes:
        name: the name that callers give.
        duration_us: the time from finalization to expiry, in microseconds; None if packages never expire.
        description: a short description for people.
    """

    name: str
    duration_us: int | None
    description: str


@dataclass(eq=False)
class UnknownRetentionClass(ArtifactStoreError):
    """No retention class has this name."""

    name: str

    @override
    def __str__(self) -> str:
        return f"unknown retention class {self.name!r}; use one of {', '.join(RETENTION_CLASSES)}"


RETENTION_CLASSES: Mapping[str, RetentionClass] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            RetentionClass("ephemeral", _DAY_US, "kept for 1 day"),
            RetentionClass("short", 30 * _DAY_US, "kept for 30 days"),
            RetentionClass("standard", 365 * _DAY_US, "kept for 1 year"),
            RetentionClass("long", 7 * 365 * _DAY_US, "kept for 7 years"),
            RetentionClass("permanent", None, "never expires"),
        )
    }
)

DEFAULT_RETENTION = "standard"


def is_permanent(name: str) -> bool:
    """Return whether a retention class never expires. A name that is no class is not permanent."""
    found = RETENTION_CLASSES.get(name)
    return found is not None and found.duration_us is None


def retention_class(name: str) -> RetentionClass:
    """Return the retention class with this name.

    Raises:
        UnknownRetentionClass: no retention class has this name.
    """
    try:
        return RETENTION_CLASSES[name]
    except KeyError:
        raise UnknownRetentionClass(name) from None
