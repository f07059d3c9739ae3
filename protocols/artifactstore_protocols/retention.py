"""Retention classes: how long a finalized package is kept. Every store has five, and can have more. None ever changes.

A class name is resolved to its duration once, when a package is created, and the event records the duration. So a later
release with another table does not change the retention of existing packages.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import override

from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue

__all__ = [
    "DEFAULT_RETENTION",
    "RETENTION_CLASSES",
    "RetentionClass",
    "RetentionClassTaken",
    "UnknownRetentionClass",
    "added_class",
    "check_class_name",
    "check_new_class",
    "classes_to_load",
    "is_permanent",
    "retention_class",
]

_DAY_US = 86_400_000_000
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_NONE: Mapping[str, int] = MappingProxyType({})


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


class UnknownRetentionClass(ArtifactStoreError):
    """No retention class has this name.

    Attributes:
        name: the name.
        store: the database of the other store that lacks the class of a package to copy; otherwise empty.
    """

    name: str
    store: str = ""

    @override
    def __str__(self) -> str:
        if self.store:
            add = "add it there with `artifactstore --store DIR retention class add`"
            return f"{self.store} has no retention class {self.name[:60]!r}; {add}"
        known = ", ".join(RETENTION_CLASSES)
        advice = f"use {known}, or one that `artifactstore retention class add` has added"
        return f"unknown retention class {self.name[:60]!r}; {advice}"


class RetentionClassTaken(ArtifactStoreError):
    """A retention class of this name has another duration, and a class never changes."""

    name: str
    duration_us: int

    @override
    def __str__(self) -> str:
        hours = self.duration_us / (_DAY_US // 24)
        return f"retention class {self.name!r} keeps packages for {hours:g} hours and never changes; add another name"


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


def check_new_class(name: str) -> None:
    """Check the name of a class that a store adds.

    Raises:
        InvalidValue: it is no name, or every store has a class of this name.
    """
    if not _may_be_added(name):
        reason = "use 1 to 40 of a-z, 0-9, _ and -, the first a letter; and not 'custom'"
        raise InvalidValue("retention class", name[:60], reason)
    if name in RETENTION_CLASSES:
        raise InvalidValue("retention class", name, "every store has it, and it never changes; choose another name")


def check_class_name(name: str) -> None:
    """Check that some store could have a class of this name. The name may be any text.

    Raises:
        UnknownRetentionClass: no store has a class of this name.
    """
    if name not in RETENTION_CLASSES and not _may_be_added(name):
        raise UnknownRetentionClass(name)


def classes_to_load(name: str) -> frozenset[str]:
    """Return the class that a log must be asked for to resolve a name; none if every store or no store has it.

    Such a name may be any text, and not every database takes every text.
    """
    return frozenset({name}) if _may_be_added(name) and name not in RETENTION_CLASSES else frozenset()


def _may_be_added(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name != "custom"


def is_permanent(name: str) -> bool:
    """Return whether a retention class never expires. A name that is no class is not permanent."""
    found = RETENTION_CLASSES.get(name)
    return found is not None and found.duration_us is None


def added_class(name: str, duration_us: int) -> RetentionClass:
    """Return a class that a store has added."""
    return RetentionClass(name, duration_us, "added to this store")


def retention_class(name: str, added: Mapping[str, int] = _NONE) -> RetentionClass:
    """Return the retention class with this name.

    Args:
        name: the name.
        added: the durations of the classes that the store has added, by name.

    Raises:
        UnknownRetentionClass: no retention class has this name.
    """
    if name in RETENTION_CLASSES:
        return RETENTION_CLASSES[name]
    if name in added:
        return added_class(name, added[name])
    raise UnknownRetentionClass(name)
