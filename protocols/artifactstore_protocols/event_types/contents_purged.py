"""`v1.contents.purged`: contents were purged, whatever referred to them.

The event retires every object of the contents that was still there, so the bytes may be deleted at once. Entries of
packages stay. From then on, the log takes no object of these contents, so nothing brings them back.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import object_places
from artifactstore_protocols.event_types.base import Codec, EventType, PayloadInvalid, check_equal, fields_of
from artifactstore_protocols.event_types.objects_stored import OBJECTS
from artifactstore_protocols.purging import PURGED_MAX, PurgeContents
from artifactstore_protocols.state import LogState, Needs, Purged
from artifactstore_protocols.views import PURGED, Cell, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["CONTENTS_PURGED", "ContentsPurged", "purge_contents", "purge_needs"]

_NAME: Final = "v1.contents.purged"
_RULE: Final = "purged"


class ContentsPurged(Struct, frozen=True):
    """Contents were purged. The subject is `objects`.

    Attributes:
        contents: the primary digests of 1 to 256 contents.
        objects: their objects that were live or condemned, each as a backend and a key. All of them are retired.
        reason: the reason that the principal gave.
    """

    contents: tuple[bytes, ...]
    objects: tuple[Place, ...]
    reason: str


def purge_needs(contents: Iterable[bytes]) -> Needs:
    """Return the state that a purge needs."""
    return Needs(contents=frozenset(contents))


def purge_contents(command: PurgeContents, state: LogState) -> ContentsPurged | None:
    """Return the payload that purges contents; None if all of them are purged already.

    Raises:
        InvalidValue: the log never named a content, or it is empty, or the contents have too many objects.
    """
    for digest in command.contents:
        content = state.contents.get(digest)
        if content is None:
            raise InvalidValue(
                "digest", digest.hex(), "the log names no such content; `artifactstore find` shows which"
            )
        if not content.size_bytes:
            raise InvalidValue("digest", digest.hex(), "it is the empty content, which has nothing to destroy")
    contents = tuple(digest for digest in command.contents if digest not in state.purged)
    objects = tuple(
        place for digest in contents for place, held in sorted(state.places_of(digest).items()) if held.is_current
    )
    if len(objects) > object_places.PLACES_MAX:
        raise InvalidValue("digests", str(len(contents)), "they have too many objects; purge fewer at once")
    return ContentsPurged(contents, objects, command.reason) if contents else None


def _encode(payload: ContentsPurged) -> bytes:
    objects: list[RecordValue] = [list[RecordValue](place) for place in payload.objects]
    contents = list[RecordValue](payload.contents)
    return canonical.encode_record({"contents": contents, "objects": objects, "reason": payload.reason})


_KINDS: Final = {"contents": frozenset({list}), "objects": frozenset({list}), "reason": frozenset({str})}


def _decode(content: bytes) -> ContentsPurged:
    value = fields_of(_NAME, content, cast("dict[str, frozenset[type]]", _KINDS))
    contents = cast("list[object]", value["contents"])
    if not 0 < len(contents) <= PURGED_MAX or any(type(digest) is not bytes for digest in contents):
        raise PayloadInvalid(_NAME, f"it has the digests of 1 to {PURGED_MAX} contents")
    objects = object_places.places_in(_NAME, cast("list[Any]", value["objects"]), at_least=0)
    return ContentsPurged(tuple(cast("list[bytes]", contents)), objects, cast("str", value["reason"]))


def _command(payload: ContentsPurged) -> PurgeContents:
    return PurgeContents(payload.contents, payload.reason)


def _check(payload: ContentsPurged, _event: "Event") -> None:
    _command(payload)


def _judge(payload: ContentsPurged, _stored: "StoredEvent", state: LogState) -> None:
    decided = purge_contents(_command(payload), state)
    check_equal("purged contents", payload.contents, () if decided is None else decided.contents)
    check_equal("purged objects", payload.objects, () if decided is None else decided.objects)


def _evolve(payload: ContentsPurged, stored: "StoredEvent", state: LogState) -> None:
    event = stored.event
    for digest in payload.contents:
        state.purged[digest] = Purged(event.recorded_at_us, event.principal, payload.reason)
    for place in payload.objects:
        digest = object_places.digest_at(place)
        held = replace(state.places_of(digest)[place], state="retired", changed_at_us=event.recorded_at_us)
        state.set_place(digest, place, held)


def _rows(payload: ContentsPurged, stored: "StoredEvent") -> Iterable[RowOperation]:
    event = stored.event
    rows: list[Row] = [
        (digest, payload.reason, event.principal, event.recorded_at_us, stored.sequence) for digest in payload.contents
    ]
    changed: dict[str, Cell] = {"state": "retired", "changed_at": event.recorded_at_us, "rule": _RULE}
    return (Put(PURGED, rows), *object_places.place_updates(payload.objects, changed))


def _describe(payload: ContentsPurged) -> str:
    count = len(payload.contents)
    return f"purged {count} content{'' if count == 1 else 's'}: {payload.reason}"


CONTENTS_PURGED: Final = EventType(
    name=_NAME,
    codec=Codec(_encode, _decode),
    subject=lambda _payload: OBJECTS,
    needs=lambda payload: purge_needs(payload.contents) | object_places.needs(payload),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=_describe,
)
