"""`v1.hold.placed`: a hold was placed on a package, which keeps it from deletion and expiry until it is released."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.event_types.ending import check_not_gone
from artifactstore_protocols.life_cycle import PlaceHold
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import HOLDS, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["HOLD_PLACED", "HoldPlaced", "place_hold", "placing_needs"]


class HoldPlaced(Struct, frozen=True):
    """A hold was placed on a package.

    Attributes:
        hold_id: the id of the hold.
        package_id: the id of the package; also the subject.
        reason: the reason that its principal gave.
    """

    hold_id: str
    package_id: str
    reason: str


def placing_needs(hold_id: str, package_id: str) -> Needs:
    """Return the state that a new hold needs."""
    return Needs(packages=frozenset({package_id}), kept=frozenset({package_id}), holds=frozenset({hold_id}))


def place_hold(command: PlaceHold, state: LogState) -> HoldPlaced:
    """Return the payload that places a hold.

    Raises:
        PackageNotFound: no package has this id.
        PackageGone: the package was deleted or has expired.
        InvalidValue: another hold has the id.
    """
    package = state.packages.get(command.package_id)
    if package is None:
        raise PackageNotFound(command.package_id)
    check_not_gone(package)
    if command.hold_id in state.holds:
        raise InvalidValue("hold id", command.hold_id, "another hold has it; make a new one")
    return HoldPlaced(command.hold_id, command.package_id, command.reason)


def _command(payload: HoldPlaced) -> PlaceHold:
    return PlaceHold(payload.hold_id, payload.package_id, payload.reason)


def _check(payload: HoldPlaced, _event: "Event") -> None:
    _command(payload)


def _judge(payload: HoldPlaced, _stored: "StoredEvent", state: LogState) -> None:
    place_hold(_command(payload), state)


def _evolve(payload: HoldPlaced, _stored: "StoredEvent", state: LogState) -> None:
    state.holds[payload.hold_id] = payload.package_id
    state.packages[payload.package_id].holds.add(payload.hold_id)


def _rows(payload: HoldPlaced, stored: "StoredEvent") -> Iterable[RowOperation]:
    event = stored.event
    row: Row = (
        payload.hold_id,
        payload.package_id,
        payload.reason,
        event.principal,
        event.recorded_at_us,
        stored.sequence,
    )
    return (Put(HOLDS, (row,)),)


_NAME: Final = "v1.hold.placed"
HOLD_PLACED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, HoldPlaced),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: placing_needs(payload.hold_id, payload.package_id),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"placed hold {payload.hold_id}: {payload.reason}",
)
