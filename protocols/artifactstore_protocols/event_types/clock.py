"""`v1.clock.observed` and `v1.clock.confirmed`: a clock that the store trusts, and one that a person confirmed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.expiry import OBSERVED_EVERY_US, check_clock
from artifactstore_protocols.life_cycle import ConfirmClock, ObserveClock
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import CLOCK, Put, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = [
    "CLOCK_CONFIRMED",
    "CLOCK_OBSERVED",
    "CLOCK_SUBJECT",
    "ClockConfirmed",
    "ClockObserved",
    "confirm_clock",
    "observe_clock",
]

CLOCK_SUBJECT: Final = "clock"
_ROW_ID: Final = 1


class ClockObserved(Struct, frozen=True):
    """The service, or a run of `expire`, saw this time, which does not differ much from the one before.

    Attributes:
        at_us: the time by the clock, in microseconds since 1970 UTC.
    """

    at_us: int


class ClockConfirmed(Struct, frozen=True):
    """A person confirmed that the clock is right.

    Attributes:
        at_us: the time by the clock, in microseconds since 1970 UTC.
    """

    at_us: int


def observe_clock(command: ObserveClock, state: LogState) -> ClockObserved | None:
    """Return the payload that records the clock; None within an hour of the last one, and in an empty log.

    Raises:
        ClockDoubtful: the clock differs too much from the last one.
    """
    check_clock(command.at_us, state.clock_us)
    if state.clock_us is None or command.at_us - state.clock_us < OBSERVED_EVERY_US:
        return None
    return ClockObserved(command.at_us)


def confirm_clock(command: ConfirmClock) -> ClockConfirmed:
    """Return the payload by which a person confirms the clock."""
    return ClockConfirmed(command.at_us)


def _check(payload: ClockObserved | ClockConfirmed, _event: "Event") -> None:
    ConfirmClock(payload.at_us)


def _judge(payload: ClockObserved, _stored: "StoredEvent", state: LogState) -> None:
    check_clock(payload.at_us, state.clock_us)


def _evolve(payload: ClockObserved | ClockConfirmed, _stored: "StoredEvent", state: LogState) -> None:
    state.clock_us = payload.at_us


def _rows(payload: ClockObserved | ClockConfirmed, stored: "StoredEvent") -> Iterable[RowOperation]:
    return (Put(CLOCK, ((_ROW_ID, payload.at_us, stored.sequence),)),)


_OBSERVED: Final = "v1.clock.observed"
CLOCK_OBSERVED: Final = EventType(
    name=_OBSERVED,
    codec=record_codec(_OBSERVED, ClockObserved),
    subject=lambda _payload: CLOCK_SUBJECT,
    needs=lambda _payload: Needs(clock=True),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"saw the clock at {time_text(payload.at_us)}",
)

_CONFIRMED: Final = "v1.clock.confirmed"
CLOCK_CONFIRMED: Final = EventType(
    name=_CONFIRMED,
    codec=record_codec(_CONFIRMED, ClockConfirmed),
    subject=lambda _payload: CLOCK_SUBJECT,
    needs=lambda _payload: Needs(),
    check=_check,
    judge=lambda _payload, _stored, _state: None,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"confirmed the clock at {time_text(payload.at_us)}",
)
