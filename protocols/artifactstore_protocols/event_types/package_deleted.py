"""`v1.package.deleted`: a person deleted a package. Its record and its manifest stay; its files go."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.event_types.ending import ending_needs, evolve_to, package_to_end, rows_of_gone
from artifactstore_protocols.life_cycle import DeletePackage
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.packages import PackageKept
from artifactstore_protocols.state import Gone, LogState
from artifactstore_protocols.views import RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

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
        PackageKept: a protected tag names it, or its retention has not ended and the command does not override that.
    """
    package = package_to_end(command.package_id, state)
    if package is None:
        return None
    expires_at_us = package.expires_at_us
    if package.finalized and not command.before_expiry and (expires_at_us is None or expires_at_us > command.as_of_us):
        until = "for ever" if expires_at_us is None else f"until {time_text(expires_at_us)}"
        raise PackageKept(package.package_id, f"its retention lasts {until}; delete it with --before-expiry")
    return PackageDeleted(command.package_id, command.reason)


def _command(payload: PackageDeleted) -> DeletePackage:
    return DeletePackage(payload.package_id, payload.reason, before_expiry=True)


def _check(payload: PackageDeleted, _event: "Event") -> None:
    _command(payload)


def _judge(payload: PackageDeleted, _stored: "StoredEvent", state: LogState) -> None:
    if delete_package(_command(payload), state) is None:
        raise InvalidValue("event", payload.package_id, "the package is gone already")


def _gone(payload: PackageDeleted, stored: "StoredEvent") -> Gone:
    return Gone("deleted", stored.event.recorded_at_us, stored.event.principal, payload.reason)


def _evolve(payload: PackageDeleted, stored: "StoredEvent", state: LogState) -> None:
    evolve_to(payload.package_id, _gone(payload, stored), state)


def _rows(payload: PackageDeleted, stored: "StoredEvent") -> Iterable[RowOperation]:
    return rows_of_gone(payload.package_id, _gone(payload, stored), stored)


_NAME: Final = "v1.package.deleted"
PACKAGE_DELETED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, PackageDeleted),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: ending_needs(payload.package_id),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"deleted: {payload.reason}",
)
