"""How much space packages take, as frozen values. Sizes are in bytes.

Equal contents are stored once, so no share of an object belongs to one package alone. Two numbers say what can be said:
`stored_bytes`, the contents that a package's ingests brought because the store did not have them, and `unique_bytes`,
the contents that only some given packages refer to.
"""

from typing import Final

from msgspec import Struct

__all__ = ["UNIQUE_PACKAGES_MAX", "NameUsage", "UniqueUsage", "deduplication"]

UNIQUE_PACKAGES_MAX: Final = 256
"""The most packages whose unique bytes one call counts together."""


class NameUsage(Struct, frozen=True):
    """The packages of one name, without those that are deleted or expired.

    Attributes:
        name: the name.
        packages: the number of packages.
        files: the number of their files.
        bytes: the total size of their files.
        stored_bytes: the total size of the contents that their ingests stored because the store did not have them. A
            file that was replaced later counts too.
    """

    name: str
    packages: int
    files: int
    bytes: int
    stored_bytes: int


class UniqueUsage(Struct, frozen=True):
    """What would be freed if some packages went together, and nothing else.

    Attributes:
        packages: the number of packages.
        files: the number of their files.
        bytes: the total size of their files.
        unique_objects: the number of objects that no other package refers to.
        unique_bytes: the total size of these objects.
    """

    packages: int
    files: int
    bytes: int
    unique_objects: int
    unique_bytes: int


def deduplication(logical_bytes: int, stored_bytes: int) -> float | None:
    """Return how many times larger files are than what is stored for them, with two decimals; None if nothing is."""
    return round(logical_bytes / stored_bytes, 2) if stored_bytes else None
