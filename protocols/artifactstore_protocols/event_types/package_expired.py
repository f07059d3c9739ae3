"""`v1.package.expired`: a rule let a package go. Its record and its manifest stay; its files go."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.event_types.ending import ending_needs, evolve_to, package_to_end, rows_of_gone
from artifactstore_protocols.life_cycle import ABANDONED, RETENTION_ENDED, ExpirePackage
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.packages import NotFinalized, PackageChanged, PackageFinalizedAlready, PackageKept
from artifactstore_protocols.retention import is_permanent
from artifactstore_protocols.state import Gone, LogState
from artifactstore_protocols.views import RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["PACKAGE_EXPIRED", "PackageExpired", "expire_package"]


class PackageExpired(Struct, frozen=True):
    """A rule let a package go.

    Attributes:
        package_id: the id of the package; also the subject.
        rule: `retention`: the time of the package was over. `abandoned`: it was open, and nobody touched it for long.
            `policy:` and more: a keep rule of its group kept others.
        as_of_us: the time at which the rule was applied, in microseconds since 1970 UTC.
        version: the version of the package that the rule saw.
    """

    package_id: str
    rule: str
    as_of_us: int
    version: int


def expire_package(command: ExpirePackage, state: LogState) -> PackageExpired | None:
    """Return the payload by which a rule lets a package go; None if it is gone already.

    Raises:
        PackageNotFound: no package has this id.
        PackageKept: a hold or a protected tag keeps it, it is permanent, or its time is not over by rule `retention`.
        PackageChanged: the rule saw another version of it.
        NotFinalized, PackageFinalizedAlready: the rule is for finalized packages, or for open ones.
    """
    package = package_to_end(command.package_id, state)
    if package is None:
        return None
    if package.finalized == (command.rule == ABANDONED):
        raise (PackageFinalizedAlready if package.finalized else NotFinalized)(command.package_id)
    if package.expires_at_us is None and (package.finalized or is_permanent(package.retention_class)):
        raise PackageKept(command.package_id, "its retention is permanent")
    if command.rule == RETENTION_ENDED and (package.expires_at_us or 0) > command.as_of_us:
        raise PackageKept(command.package_id, f"its retention lasts until {time_text(package.expires_at_us or 0)}")
    if package.version != command.version:
        raise PackageChanged(command.package_id, command.version, package.version)
    return PackageExpired(command.package_id, command.rule, command.as_of_us, command.version)


def _command(payload: PackageExpired) -> ExpirePackage:
    return ExpirePackage(payload.package_id, payload.rule, payload.as_of_us, payload.version)


def _check(payload: PackageExpired, _event: "Event") -> None:
    _command(payload)


def _judge(payload: PackageExpired, _stored: "StoredEvent", state: LogState) -> None:
    if expire_package(_command(payload), state) is None:
        raise InvalidValue("event", payload.package_id, "the package is gone already")


def _gone(payload: PackageExpired, stored: "StoredEvent") -> Gone:
    return Gone("expired", stored.event.recorded_at_us, stored.event.principal, payload.rule)


def _evolve(payload: PackageExpired, stored: "StoredEvent", state: LogState) -> None:
    evolve_to(payload.package_id, _gone(payload, stored), state)


def _rows(payload: PackageExpired, stored: "StoredEvent") -> Iterable[RowOperation]:
    return rows_of_gone(payload.package_id, _gone(payload, stored), stored)


_NAME: Final = "v1.package.expired"
PACKAGE_EXPIRED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, PackageExpired),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: ending_needs(payload.package_id),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"expired by rule {payload.rule}",
)
