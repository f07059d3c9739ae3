"""`v1.log.created`: the first event of every log. It gives the log a random id.

No other event has this type. The first command that writes also writes this event, as a command of its own. The event
is part of every copy of the log, in files, backups and other databases, so two logs with the same id have the same
beginning.
"""

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.state import LogState, Needs

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["LOG_CREATED", "LogCreated", "check_place"]


class LogCreated(Struct, frozen=True):
    """A log began. Event 1 of every log, and no other event, has this type. The subject is the log id.

    Attributes:
        log_id: a random UUID. A database also has a store id, which only tokens name in the log.
    """

    log_id: str

    def __post_init__(self) -> None:
        check_id("log id", self.log_id)


def check_place(sequence: int, name: str) -> None:
    """Check that event 1 has this type, and that no other event has it.

    Raises:
        InvalidValue: an event with this name is not allowed at this sequence.
    """
    if (sequence == 1) != (name == _NAME):
        raise InvalidValue("event type", name, f"event 1 of a log is {_NAME}, and no other event is")


def _check(_payload: LogCreated, event: "Event") -> None:
    if event.command.digest is not None:
        raise InvalidValue("command digest", event.command.digest, "no command asks for the beginning of a log")


def _evolve(_payload: LogCreated, stored: "StoredEvent", state: LogState) -> None:
    state.clock_us = stored.event.recorded_at_us


_NAME: Final = "v1.log.created"
LOG_CREATED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, LogCreated),
    subject=lambda payload: payload.log_id,
    needs=lambda _payload: Needs(),
    check=_check,
    judge=lambda _payload, _stored, _state: None,
    evolve=_evolve,
    rows=lambda _payload, _stored: (),
    describe=lambda payload: f"began log {payload.log_id}",
)
