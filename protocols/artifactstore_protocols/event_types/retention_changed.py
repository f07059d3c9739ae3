"""`v1.retention.changed`: the retention of a finalized package was set anew, or extended.

The event has the resolved time of expiry. The manifest keeps the retention that the package was finalized with.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, check_equal, record_codec
from artifactstore_protocols.event_types.ending import check_not_gone, ending_needs
from artifactstore_protocols.life_cycle import CUSTOM, ExtendRetention, SetRetention
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.packages import NotFinalized, PackageKept, PackageNotFound
from artifactstore_protocols.retention import classes_to_load, retention_class
from artifactstore_protocols.state import LogState, Needs, PackageState
from artifactstore_protocols.views import PACKAGES, RETENTION, RowOperation, Update

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["RETENTION_CHANGED", "RetentionChanged", "extend_retention", "set_retention"]


class RetentionChanged(Struct, frozen=True):
    """The retention of a finalized package was set anew, or extended.

    Attributes:
        package_id: the id of the package; also the subject.
        retention_class: its retention class from now on; `custom` for a duration that is not that of a class.
        duration_us: how long the package is kept after it was finalized, in microseconds; null for ever.
        expires_at_us: when the retention ends; null never.
    """

    package_id: str
    retention_class: str
    duration_us: int | None
    expires_at_us: int | None


def set_retention(command: SetRetention, state: LogState) -> RetentionChanged | None:
    """Return the payload that sets the retention of a package; None if it is set like this already.

    Raises:
        PackageNotFound, PackageGone, NotFinalized: there is no such finalized package.
        UnknownRetentionClass: there is no such class.
        PackageKept: the retention would become shorter, and a hold is on the package.
    """
    package = _finalized(command.package_id, state)
    duration_us = command.duration_us
    if command.retention_class != CUSTOM:
        duration_us = retention_class(command.retention_class, state.classes).duration_us
    return _changed(package, command.retention_class, duration_us)


def extend_retention(command: ExtendRetention, state: LogState) -> RetentionChanged:
    """Return the payload that extends the retention of a package, from its end, or from now if it has ended.

    Raises:
        PackageNotFound, PackageGone, NotFinalized: there is no such finalized package.
        PackageKept: it is permanent.
        InvalidValue: it would be kept longer than any duration may be.
    """
    package = _finalized(command.package_id, state)
    if package.expires_at_us is None:
        raise PackageKept(command.package_id, "its retention is permanent and has no end to extend")
    expires_at_us = max(package.expires_at_us, command.as_of_us, state.log_time_us) + command.duration_us
    longer = SetRetention(command.package_id, CUSTOM, expires_at_us - package.retained_from_us)
    return RetentionChanged(command.package_id, CUSTOM, longer.duration_us, expires_at_us)


def _finalized(package_id: str, state: LogState) -> PackageState:
    package = state.packages.get(package_id)
    if package is None:
        raise PackageNotFound(package_id)
    check_not_gone(package)
    if not package.finalized:
        raise NotFinalized(package_id)
    return package


def _changed(package: PackageState, name: str, duration_us: int | None) -> RetentionChanged | None:
    before_us = package.expires_at_us
    expires_at_us = None if duration_us is None else package.retained_from_us + duration_us
    if (name, expires_at_us) == (package.retention_class, before_us):
        return None
    is_shorter = expires_at_us is not None and (before_us is None or expires_at_us < before_us)
    if is_shorter and package.holds:
        raise PackageKept(package.package_id, f"hold {min(package.holds)} is on it, so its retention gets no shorter")
    return RetentionChanged(package.package_id, name, duration_us, expires_at_us)


def _command(payload: RetentionChanged) -> SetRetention:
    is_custom = payload.retention_class == CUSTOM
    return SetRetention(payload.package_id, payload.retention_class, payload.duration_us if is_custom else None)


def _check(payload: RetentionChanged, _event: "Event") -> None:
    _command(payload)


def _judge(payload: RetentionChanged, _stored: "StoredEvent", state: LogState) -> None:
    decided = set_retention(_command(payload), state)
    if decided is None:
        raise InvalidValue("retention", payload.package_id, "it is set like this already")
    check_equal("duration", payload.duration_us, decided.duration_us)
    check_equal("expires_at_us", payload.expires_at_us, decided.expires_at_us)


def _evolve(payload: RetentionChanged, _stored: "StoredEvent", state: LogState) -> None:
    package = state.packages[payload.package_id]
    package.retention_class, package.expires_at_us = payload.retention_class, payload.expires_at_us


def _rows(payload: RetentionChanged, stored: "StoredEvent") -> Iterable[RowOperation]:
    key = (payload.package_id,)
    changed = {
        "retention_class": payload.retention_class,
        "duration_us": payload.duration_us,
        "expires_at": payload.expires_at_us,
        "sequence": stored.sequence,
    }
    return (Update(PACKAGES, key, {"retention_class": payload.retention_class}), Update(RETENTION, key, changed))


def _describe(payload: RetentionChanged) -> str:
    until = "for ever" if payload.expires_at_us is None else f"until {time_text(payload.expires_at_us)}"
    return f"set retention {payload.retention_class}: kept {until}"


_NAME: Final = "v1.retention.changed"
RETENTION_CHANGED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, RetentionChanged),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: ending_needs(payload.package_id) | Needs(classes=classes_to_load(payload.retention_class)),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=_describe,
)
