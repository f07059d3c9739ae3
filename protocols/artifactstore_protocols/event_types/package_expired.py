"""`v1.package.expired`: a rule let a package go. Its record and its manifest stay; its files go."""

from typing import Final

from msgspec import Struct

from artifactstore_protocols.event_types.ending import ending_type, package_to_end
from artifactstore_protocols.life_cycle import ABANDONED, RETENTION_ENDED, ExpirePackage
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.packages import NotFinalized, PackageChanged, PackageFinalizedAlready, PackageKept
from artifactstore_protocols.retention import is_permanent
from artifactstore_protocols.state import LogState

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


PACKAGE_EXPIRED: Final = ending_type(
    "v1.package.expired",
    PackageExpired,
    package_id=lambda payload: payload.package_id,
    status="expired",
    reason=lambda payload: payload.rule,
    check=_command,
    decide=lambda payload, state: expire_package(_command(payload), state),
    describe=lambda payload: f"expired by rule {payload.rule}",
)
