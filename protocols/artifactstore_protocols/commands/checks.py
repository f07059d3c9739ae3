"""Limits and checks that several commands share."""

import re
from collections.abc import Iterable
from typing import Final

from artifactstore_protocols.entries import Place, check_place
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import is_id
from artifactstore_protocols.names import check_name
from artifactstore_protocols.object_keys import parse_key

__all__ = [
    "ENTRIES_BYTES_MAX",
    "ENTRIES_MAX",
    "OBJECTS_MAX",
    "PARENTS_MAX",
    "check_caller",
    "check_each_place",
    "check_places",
    "check_reference",
    "check_tuple",
]


_REFERENCE_CHARACTERS = re.compile(r"[@:{}]|~[0-9]*\Z")  # see `package_references`

ENTRIES_MAX: Final = 256
"""The most entries in one command, and so in one event."""

ENTRIES_BYTES_MAX: Final = 1 << 20
"""The most bytes of the entries in one command, as `entry_bytes` counts them."""

PARENTS_MAX: Final = 100
"""The most packages that a package can be made from."""

OBJECTS_MAX: Final = 256
"""The most findings, contents or objects in one command, and the most objects that one event stores."""


def check_caller(principal: str, idempotency_key: str | None = None) -> None:
    """Refuse an invalid principal or idempotency key. Call this before work that precedes the command.

    Raises:
        InvalidValue: the principal or the key is not 1 to 200 printable characters, or has a space at an end.
    """
    check_name("principal", principal)
    if idempotency_key is not None:
        check_name("idempotency key", idempotency_key)


def check_reference(what: str, text: str) -> None:
    """Refuse a name that is invalid, is an id, or has a character that selects a package beside a name."""
    check_name(what, text)
    if is_id(text):
        raise InvalidValue(what, text, "it is an id; take another name")
    if _REFERENCE_CHARACTERS.search(text) is not None:
        raise InvalidValue(what, text[:60], "leave out @ : { } and a final ~ or ~n, which select a package")


def check_each_place(places: Iterable[Place]) -> None:
    """Refuse places that do not exist in this form."""
    for place in places:
        check_place(*place)
        parse_key(place.object_key)


def check_places(places: tuple[Place, ...]) -> None:
    """Refuse places that a command cannot name."""
    check_tuple("objects", places)
    check_each_place(places)


def check_tuple(what: str, items: tuple[object, ...]) -> None:
    """Refuse items that are not a tuple of 1 to `OBJECTS_MAX` different items."""
    if type(items) is not tuple or not 0 < len(items) <= OBJECTS_MAX:
        raise InvalidValue(what, type(items).__name__, f"a command has 1 to {OBJECTS_MAX}")
    if len(set(items)) != len(items):
        raise InvalidValue(what, str(len(items)), "one of them stands there twice")
