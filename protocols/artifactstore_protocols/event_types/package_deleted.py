"""`v1.package.deleted`: a person deleted a package. Its record and its manifest stay; its files go."""

from typing import Final

from msgspec import Struct

from artifactstore_protocols.event_types.ending import ending_type, package_to_end
from artifactstore_protocols.expiry import check_clock
from artifactstore_protocols.life_cycle import DeletePackage
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.packages import PackageKept
from artifactstore_protocols.state import LogState

__all__ = ["PACKAGE_DELETED", "PackageDeleted", "delete_package"]


class PackageDeleted(Struct, frozen=True):
    """A person deleted an open or finalized package.

    Attributes:
        package_id: the id of the package; also the subject.
        reason: the reason that the person gave.
    """

    package_id: str
    reason: str


def delete_package(command: DeletePackage, state: LogState) -> PackageDeleted | None:
    """Return the payload that deletes a package; None if it is gone already.

    Raises:
        PackageNotFound: no package has this id.
        PackageKept: a hold or a protected tag keeps it, or its retention has not ended and the command does not
            override that.
        ClockDoubtful: the retention has ended by a clock that differs too much from the time that the store saw last.
    """
    package = package_to_end(command.package_id, state)
    if package is None:
        return None
    if package.finalized and not command.before_expiry:
        expires_at_us = package.expires_at_us
        if expires_at_us is None or expires_at_us > command.as_of_us:
            until = "for ever" if expires_at_us is None else f"until {time_text(expires_at_us)}"
            raise PackageKept(package.package_id, f"its retention lasts {until}; delete it with --before-expiry")
        for seen_us in (state.clock_us, state.log_time_us or None):
            check_clock(command.as_of_us, seen_us)
    return PackageDeleted(command.package_id, command.reason)


def _command(payload: PackageDeleted) -> DeletePackage:
    return DeletePackage(payload.package_id, payload.reason, before_expiry=True)


PACKAGE_DELETED: Final = ending_type(
    "v1.package.deleted",
    PackageDeleted,
    package_id=lambda payload: payload.package_id,
    status="deleted",
    reason=lambda payload: payload.reason,
    check=_command,
    decide=lambda payload, state: delete_package(_command(payload), state),
    describe=lambda payload: f"deleted: {payload.reason}",
)
