"""`v1.hold.released`: a hold on a package was released. Other holds and its retention still keep the package."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.event_types.base import EventType, check_equal, record_codec
from artifactstore_protocols.life_cycle import ReleaseHold
from artifactstore_protocols.packages import HoldNotFound
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import HOLDS, Delete, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["HOLD_RELEASED", "HoldReleased", "release_hold"]


class HoldReleased(Struct, frozen=True):
    """A hold was released.

    Attributes:
        hold_id: the id of the hold.
        package_id: the id of the package that it was on; also the subject.
    """

    hold_id: str
    package_id: str


def release_hold(command: ReleaseHold, state: LogState) -> HoldReleased:
    """Return the payload that releases a hold.

    Raises:
        HoldNotFound: there is no such hold, or it was released before.
    """
    package_id = state.holds.get(command.hold_id)
    if package_id is None:
        raise HoldNotFound(command.hold_id)
    return HoldReleased(command.hold_id, package_id)


def _check(payload: HoldReleased, _event: "Event") -> None:
    ReleaseHold(payload.hold_id)


def _judge(payload: HoldReleased, _stored: "StoredEvent", state: LogState) -> None:
    decided = release_hold(ReleaseHold(payload.hold_id), state)
    check_equal("package of the hold", payload.package_id, decided.package_id)


def _evolve(payload: HoldReleased, _stored: "StoredEvent", state: LogState) -> None:
    del state.holds[payload.hold_id]
    if (package := state.packages.get(payload.package_id)) is not None:
        package.holds.discard(payload.hold_id)


def _rows(payload: HoldReleased, _stored: "StoredEvent") -> Iterable[RowOperation]:
    return (Delete(HOLDS, ((payload.hold_id,),)),)


_NAME: Final = "v1.hold.released"
HOLD_RELEASED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, HoldReleased),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: Needs(holds=frozenset({payload.hold_id})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"released hold {payload.hold_id}",
)
