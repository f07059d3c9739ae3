"""`v1.command.noted`: a command with an idempotency key changed nothing, and the log keeps its key.

Without this event the key would stay free. A later command with the key could then do something else, although the
first command was reported as successful.
"""

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from artifactstore_protocols.commands import CommandRequest, FinalizePackage, IngestFiles
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.state import LogState, Needs

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["COMMAND_NOTED", "CommandNoted", "note_command"]


class CommandNoted(Struct, frozen=True):
    """A command about a package changed nothing. The event keeps its idempotency key.

    Attributes:
        package_id: the id of the package; also the subject.
    """

    package_id: str


def note_command(request: CommandRequest) -> CommandNoted | None:
    """Return the payload for an ingest or finalize command that changed nothing; None if it has no idempotency key."""
    command = request.command
    if request.idempotency_key is None or not isinstance(command, IngestFiles | FinalizePackage):
        return None
    return CommandNoted(command.package_id)


def _check(_payload: CommandNoted, event: "Event") -> None:
    if event.command.idempotency_key is None:
        raise InvalidValue("idempotency key", "", "a command is noted for its key")


def _judge(payload: CommandNoted, _stored: "StoredEvent", state: LogState) -> None:
    if payload.package_id not in state.packages:
        raise PackageNotFound(payload.package_id)


_NAME: Final = "v1.command.noted"
COMMAND_NOTED: Final = EventType(
    name=_NAME,
    codec=record_codec(_NAME, CommandNoted),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: Needs(packages=frozenset({payload.package_id})),
    check=_check,
    judge=_judge,
    evolve=lambda _payload, _stored, _state: None,
    rows=lambda _payload, _stored: (),
    describe=lambda _payload: "kept the idempotency key of a command that changed nothing",
)
