"""`v1.retention_class.added`: a retention class was added to those that every store has. It never changes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.life_cycle import AddRetentionClass
from artifactstore_protocols.retention import RetentionClassTaken
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import CLASSES, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["RETENTION_CLASS_ADDED", "RetentionClassAdded", "add_retention_class"]


class RetentionClassAdded(Struct, frozen=True):
    """A retention class was added. The subject is `retention-class:` and its name.

    Attributes:
        name: the name of the class.
        duration_us: how long a package is kept after it was finalized, in microseconds.
    """

    name: str
    duration_us: int


def add_retention_class(command: AddRetentionClass, state: LogState) -> RetentionClassAdded | None:
    """Return the payload that adds a retention class; None if it is there already with this duration.

    Raises:
        RetentionClassTaken: it is there with another duration.
    """
    before_us = state.classes.get(command.name)
    if before_us == command.duration_us:
        return None
    if before_us is not None:
        raise RetentionClassTaken(command.name, before_us)
    return RetentionClassAdded(command.name, command.duration_us)


def _command(payload: RetentionClassAdded) -> AddRetentionClass:
    return AddRetentionClass(payload.name, payload.duration_us)


def _check(payload: RetentionClassAdded, _event: "Event") -> None:
    _command(payload)


def _judge(payload: RetentionClassAdded, _stored: "StoredEvent", state: LogState) -> None:
    if add_retention_class(_command(payload), state) is None:
        raise InvalidValue("retention class", payload.name, "it was added already")


def _evolve(payload: RetentionClassAdded, _stored: "StoredEvent", state: LogState) -> None:
    state.classes[payload.name] = payload.duration_us


def _rows(payload: RetentionClassAdded, stored: "StoredEvent") -> Iterable[RowOperation]:
    event = stored.event
    row: Row = (payload.name, payload.duration_us, event.principal, event.recorded_at_us, stored.sequence)
    return (Put(CLASSES, (row,)),)


_NAME: Final = "v1.retention_class.added"
RETENTION_CLASS_ADDED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, RetentionClassAdded),
    subject=lambda payload: f"retention-class:{payload.name}",
    needs=lambda payload: Needs(classes=frozenset({payload.name})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=lambda payload: f"added retention class {payload.name!r}",
)
