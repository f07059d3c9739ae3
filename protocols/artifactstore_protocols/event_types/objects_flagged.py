"""`v1.objects.flagged` and `v1.objects.restored`: verification found objects flawed, or intact again."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.commands import OBJECTS_MAX, ObjectFinding, RecordFindings
from artifactstore_protocols.entries import Place, check_digest, check_place
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import Codec, EventType, PayloadInvalid, fields_of
from artifactstore_protocols.event_types.objects_stored import OBJECTS
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.state import LogState, Needs, PlaceState
from artifactstore_protocols.views import LOCATIONS, Cell, RowOperation, Update

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["OBJECTS_FLAGGED", "OBJECTS_RESTORED", "ObjectsFlagged", "ObjectsRestored", "judge_findings"]

_FINDING_FIELDS: Final = 4


class ObjectsFlagged(Struct, frozen=True):
    """Verification found objects `damaged` or `missing`. The next ingest stores their contents under another key.

    The subject is `objects`.

    Attributes:
        findings: called `objects` in the event: 1 to 256 objects, each with its integrity, "damaged" or "missing".
    """

    findings: tuple[ObjectFinding, ...]


class ObjectsRestored(Struct, frozen=True):
    """Verification found flagged objects intact. The subject is `objects`.

    Attributes:
        findings: called `objects` in the event: 1 to 256 objects, each with its integrity, "intact".
    """

    findings: tuple[ObjectFinding, ...]


def judge_findings(command: RecordFindings, state: LogState) -> tuple[ObjectsFlagged | None, ObjectsRestored | None]:
    """Return the payloads for the objects that a verification newly found flawed, and newly found intact.

    Findings are skipped for objects that were stored, or whose integrity changed, after the verification began at
    sequence `command.as_of`, and for objects at keys that were retired since.

    Raises:
        InvalidValue: the log does not name an object.
    """
    flagged: list[ObjectFinding] = []
    restored: list[ObjectFinding] = []
    for finding in command.findings:
        known = _known(finding, state)
        if not known.is_current or known.sequence > command.as_of or known.integrity == finding.integrity:
            continue
        (restored if finding.integrity == "intact" else flagged).append(finding)
    return (
        ObjectsFlagged(tuple(flagged)) if flagged else None,
        ObjectsRestored(tuple(restored)) if restored else None,
    )


def _known(finding: ObjectFinding, state: LogState) -> PlaceState:
    place = state.places_of(finding.digest).get(finding.place)
    if place is None:
        reason = "no event before has stored it there"
        raise InvalidValue("object", f"{finding.place.backend_id} {finding.place.object_key}"[:80], reason)
    return place


class _Findings(Protocol):
    @property
    def findings(self) -> tuple[ObjectFinding, ...]: ...


def _encode(payload: _Findings) -> bytes:
    objects: list[RecordValue] = [
        [digest, place.backend_id, place.object_key, integrity] for digest, place, integrity in payload.findings
    ]
    return canonical.encode_record({"objects": objects})


def _decode(name: str, content: bytes, allowed: frozenset[str]) -> tuple[ObjectFinding, ...]:
    value = fields_of(name, content, {"objects": frozenset({list})})
    findings: list[ObjectFinding] = []
    for each in cast("list[list[str]]", value["objects"]):
        if type(each) is not list or len(each) != _FINDING_FIELDS or {type(part) for part in each[1:]} != {str}:
            raise PayloadInvalid(name, "an object has a digest, a backend, a key and an integrity")
        digest, backend_id, key, integrity = each
        check_digest("digest", cast("bytes", digest))
        check_place(backend_id, key)
        if integrity not in allowed:
            raise PayloadInvalid(name, f"integrity is one of {', '.join(sorted(allowed))}")
        findings.append(ObjectFinding(cast("bytes", digest), Place(backend_id, key), integrity))
    if not 0 < len(findings) <= OBJECTS_MAX:
        raise PayloadInvalid(name, f"it has 1 to {OBJECTS_MAX} objects")
    return tuple(findings)


def _judge(payload: _Findings, _stored: "StoredEvent", state: LogState) -> None:
    places = [finding.place for finding in payload.findings]
    if len(set(places)) != len(places):
        raise InvalidValue("objects", str(len(places)), "one of them stands there twice")
    for finding in payload.findings:
        known = _known(finding, state)
        if known.integrity == finding.integrity or not known.is_current:
            raise InvalidValue("integrity", finding.integrity, "the object has it already, or is retired")


def _evolve(payload: _Findings, stored: "StoredEvent", state: LogState) -> None:
    for digest, place, integrity in payload.findings:
        held = state.places_of(digest)[place]
        state.set_place(digest, place, replace(held, integrity=integrity, sequence=stored.sequence))


def _rows(payload: _Findings, stored: "StoredEvent") -> Iterable[RowOperation]:
    sequence = stored.sequence
    for digest, place, integrity in payload.findings:
        changed: dict[str, Cell] = {"integrity": integrity, "sequence": sequence, "verified_sequence": sequence}
        yield Update(LOCATIONS, (digest, *place), changed)


def _describe(payload: _Findings) -> str:
    digest, place, integrity = payload.findings[0]
    more = f", and {len(payload.findings) - 1} more objects" if len(payload.findings) > 1 else ""
    return f"found {PRIMARY_ALGORITHM}:{digest.hex()} {integrity} in {place.backend_id}{more}"


def _event_type[P: _Findings](
    name: str, make: Callable[[tuple[ObjectFinding, ...]], P], allowed: frozenset[str]
) -> EventType[P]:
    return EventType(
        name=name,
        codec=Codec(_encode, lambda content: make(_decode(name, content, allowed))),
        subject=lambda _payload: OBJECTS,
        needs=lambda payload: Needs(contents=frozenset(finding.digest for finding in payload.findings)),
        judge=_judge,
        evolve=_evolve,
        rows=_rows,
        describe=_describe,
    )


OBJECTS_FLAGGED: Final = _event_type("v1.objects.flagged", ObjectsFlagged, frozenset({"damaged", "missing"}))
OBJECTS_RESTORED: Final = _event_type("v1.objects.restored", ObjectsRestored, frozenset({"intact"}))
