"""`v1.package.annotated`: annotations of a package were set or removed, before or after it was finalized."""

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Final, cast

import rfc8785
from msgspec import Struct

from artifactstore_protocols import canonical
from artifactstore_protocols.canonical import CanonicalValue
from artifactstore_protocols.commands import AnnotatePackage
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import Codec, EventType, PayloadInvalid, fields_of
from artifactstore_protocols.metadata import (
    Metadata,
    MetadataValue,
    check_metadata,
    metadata_bytes,
    pair_text,
    search_term,
)
from artifactstore_protocols.packages import AnnotationNotFound, AnnotationsChanged, MetadataKeyTaken, PackageNotFound
from artifactstore_protocols.state import LogState, Needs
from artifactstore_protocols.views import VALUES, Delete, Put, Row, RowOperation

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["PACKAGE_ANNOTATED", "PackageAnnotated", "annotate_package"]

_NAME: Final = "v1.package.annotated"
_FIELDS: Final = {
    "package_id": frozenset({str}),
    "package_number": frozenset({int}),
    "annotations": frozenset({Mapping}),
    "removed": frozenset({list}),
}
_SHOWN_CHARACTERS = 200


class PackageAnnotated(Struct, frozen=True):
    """Annotations of a package were set or removed. The manifest of a finalized package stays as it is.

    Attributes:
        package_id: the id of the package; also the subject.
        package_number: the sequence of the event that created the package.
        annotations: the annotations that are new or have another value, as metadata.
        removed: the keys of the annotations that were removed, sorted.
    """

    package_id: str
    package_number: int
    annotations: Metadata
    removed: tuple[str, ...]


def annotate_package(command: AnnotatePackage, state: LogState) -> PackageAnnotated | None:
    """Return the payload that changes annotations; None if the package has them like this already.

    Raises:
        PackageNotFound: no package has this id.
        MetadataKeyTaken: the metadata has one of the keys.
        AnnotationsChanged: the package does not have the annotations that the command expects.
        AnnotationNotFound: the package lacks an annotation that should be removed.
        InvalidValue: the package would have too many annotations.
    """
    package = state.packages.get(command.package_id)
    if package is None:
        raise PackageNotFound(command.package_id)
    metadata = cast("Metadata", canonical.decode(package.metadata))
    for key in command.annotations:
        if key in metadata:
            raise MetadataKeyTaken(command.package_id, key)
    if command.expected is not None:
        keys = {*command.annotations, *command.removed, *command.expected}
        there = {key: value for key, value in package.annotations.items() if key in keys}
        if metadata_bytes(there) != metadata_bytes(command.expected):
            raise AnnotationsChanged(command.package_id, tuple(sorted(keys)))
    for key in command.removed:
        if key not in package.annotations:
            raise AnnotationNotFound(command.package_id, key)
    changed = {key: value for key, value in command.annotations.items() if not _has(package.annotations, key, value)}
    if not changed and not command.removed:
        return None
    check_metadata(_after(package.annotations, changed, command.removed), "annotations")
    return PackageAnnotated(command.package_id, package.number, changed, tuple(sorted(command.removed)))


def _has(annotations: Metadata, key: str, value: MetadataValue) -> bool:
    # Encodings are compared, since True equals 1 in Python.
    return key in annotations and metadata_bytes({key: annotations[key]}) == metadata_bytes({key: value})


def _after(before: Metadata, changed: Metadata, removed: tuple[str, ...]) -> dict[str, MetadataValue]:
    return {key: value for key, value in {**before, **changed}.items() if key not in removed}


def _encode(payload: PackageAnnotated) -> bytes:
    return canonical.encode(
        {
            "package_id": payload.package_id,
            "package_number": payload.package_number,
            "annotations": cast("dict[str, CanonicalValue]", dict(payload.annotations)),
            "removed": list[CanonicalValue](payload.removed),
        }
    )


def _decode(content: bytes) -> PackageAnnotated:
    fields = fields_of(_NAME, content, _FIELDS)
    removed = cast("list[object]", fields["removed"])
    if not all(type(key) is str for key in removed):
        raise PayloadInvalid(_NAME, "removed has the wrong type")
    return PackageAnnotated(
        cast("str", fields["package_id"]),
        cast("int", fields["package_number"]),
        cast("Metadata", fields["annotations"]),
        tuple(cast("list[str]", removed)),
    )


def _command(payload: PackageAnnotated) -> AnnotatePackage:
    return AnnotatePackage(payload.package_id, payload.annotations, payload.removed)


def _check(payload: PackageAnnotated, _event: "Event") -> None:
    _command(payload)


def _judge(payload: PackageAnnotated, _stored: "StoredEvent", state: LogState) -> None:
    decided = annotate_package(_command(payload), state)
    if decided is None or _encode(decided) != _encode(payload):
        reason = "they change nothing, belong to another package number, or are not in their shortest form"
        raise InvalidValue("annotations", payload.package_id, reason)


def _evolve(payload: PackageAnnotated, _stored: "StoredEvent", state: LogState) -> None:
    package = state.packages[payload.package_id]
    package.annotations = _after(package.annotations, payload.annotations, payload.removed)


def _rows(payload: PackageAnnotated, stored: "StoredEvent") -> Iterable[RowOperation]:
    number = payload.package_number
    if payload.removed:
        yield Delete(VALUES, tuple((number, key) for key in payload.removed))
    if payload.annotations:
        rows: list[Row] = [
            (
                number,
                key,
                rfc8785.dumps(cast("CanonicalValue", value)).decode(),
                search_term(key, value),
                stored.sequence,
            )
            for key, value in sorted(payload.annotations.items(), key=itemgetter(0))
        ]
        yield Put(VALUES, rows)


def _describe(payload: PackageAnnotated) -> str:
    pairs = ", ".join(pair_text(key, value) for key, value in payload.annotations.items())
    shown = f"{pairs[:_SHOWN_CHARACTERS]}…" if len(pairs) > _SHOWN_CHARACTERS else pairs
    said = [f"annotated {shown}"] if pairs else []
    if payload.removed:
        said.append(f"removed annotation {', '.join(map(repr, payload.removed))}"[:_SHOWN_CHARACTERS])
    return "; ".join(said)


PACKAGE_ANNOTATED: Final = EventType(
    name=_NAME,
    codec=Codec(_encode, _decode),
    subject=lambda payload: payload.package_id,
    needs=lambda payload: Needs(packages=frozenset({payload.package_id}), described=frozenset({payload.package_id})),
    check=_check,
    judge=_judge,
    evolve=_evolve,
    rows=_rows,
    describe=_describe,
)
