"""`ReleaseEntries`: the command by which a collector lets go of entries of a package that is gone."""

from typing import Final, override

from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.life_cycle import LifeCycleCommand
from artifactstore_protocols.typed import check_fields

__all__ = ["RELEASED_MAX", "ReleaseEntries"]

RELEASED_MAX: Final = 1024
"""The most entries that a command releases. Four objects of each content fit into one event that condemns them."""


class ReleaseEntries(LifeCycleCommand, frozen=True):
    """A command that releases entries of a deleted or expired package, and condemns what loses its last reference.

    Attributes:
        package_id: the id of the package.
        first: the path key of the first entry.
        last: the path key of the last entry. At most `RELEASED_MAX` entries are in the range.
    """

    package_id: str
    first: str
    last: str

    def __post_init__(self) -> None:
        check_fields(self)
        check_id("package id", self.package_id)
        if not "" < self.first <= self.last:
            raise InvalidValue("range of entries", self.last[:80], "it ends after its first path key")

    @override
    def asked(self) -> list[RecordValue]:
        return ["release", self.package_id, self.first, self.last]
