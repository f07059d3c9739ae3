"""Commands about stored objects: findings, verification, places and removal."""

from typing import NamedTuple

from msgspec import Struct

from artifactstore_protocols.commands.checks import OBJECTS_MAX, check_each_place, check_places, check_tuple
from artifactstore_protocols.entries import Place, StoredObject, check_digest, check_object, check_place
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.verification import VERIFIED_OBJECTS_MAX, Sample, VerifiedKey

__all__ = [
    "ObjectFinding",
    "RecordFindings",
    "RecordVerification",
    "RemoveObjects",
    "ReplaceObjects",
    "RetireObjects",
    "StoreObjects",
]


_INTEGRITIES = ("intact", "damaged", "missing")

_CAUSES = ("condemned", "orphan")


class ObjectFinding(NamedTuple):
    """The result of verifying one object. `integrity` is `intact`, `damaged` or `missing`."""

    digest: bytes
    place: Place
    integrity: str


class RecordFindings(Struct, frozen=True):
    """A command that records the findings of a verification.

    The next ingest stores flawed objects again. Intact objects lose their flag.

    Attributes:
        findings: 1 to `OBJECTS_MAX` findings. Each object occurs once.
        as_of: the head of the log when the verification began to read. Findings on objects that changed later are
            skipped.
    """

    findings: tuple[ObjectFinding, ...]
    as_of: int

    def __post_init__(self) -> None:
        if type(self.findings) is not tuple or not 0 < len(self.findings) <= OBJECTS_MAX:
            raise InvalidValue("findings", type(self.findings).__name__, f"a command has 1 to {OBJECTS_MAX}")
        if type(self.as_of) is not int or self.as_of < 0:
            raise InvalidValue("as_of", str(self.as_of)[:60], "it is the sequence of an event, or 0")
        for digest, (backend_id, object_key), integrity in self.findings:
            check_digest("digest", digest)
            check_place(backend_id, object_key)
            if integrity not in _INTEGRITIES:
                raise InvalidValue("integrity", str(integrity)[:60], f"use one of {', '.join(_INTEGRITIES)}")
        if len({finding.place for finding in self.findings}) != len(self.findings):
            raise InvalidValue("findings", str(len(self.findings)), "an object stands there twice")


class RecordVerification(Struct, frozen=True):
    """A command that records that a range of the objects that were due has been verified.

    Attributes:
        as_of: the head of the log when the verification began. The range has no object that was stored after it.
        first: the first object of the range, in the order of verification.
        last: the last object of the range.
        sample: the sample whose objects were read.
        objects: the number of objects that were read, at most `VERIFIED_OBJECTS_MAX`.
        bytes: their total size.
        damaged: how many of them are damaged.
        missing: how many of them are missing.
    """

    as_of: int
    first: VerifiedKey
    last: VerifiedKey
    sample: Sample
    objects: int
    bytes: int
    damaged: int = 0
    missing: int = 0

    def __post_init__(self) -> None:
        numbers = (self.as_of, self.objects, self.bytes, self.damaged, self.missing)
        keys = (self.first, self.last)
        if not all(type(each) is int and each >= 0 for each in (*numbers, *(key.sequence for key in keys))):
            raise InvalidValue("verification", str(numbers)[:60], "its counts and sequences are 0 or more")
        if not 0 < self.objects <= VERIFIED_OBJECTS_MAX or self.damaged + self.missing > self.objects:
            reason = f"it has read 1 to {VERIFIED_OBJECTS_MAX} objects, and found no more flawed ones"
            raise InvalidValue("verification", str(numbers)[:60], reason)
        if self.last.sequence > self.as_of:
            raise InvalidValue("verification", str(self.last.sequence), "its last object is of a later event")
        check_each_place({key.place for key in keys})


class ReplaceObjects(Struct, frozen=True):
    """A command that records that contents with flawed objects were stored again.

    Contents without a live object are skipped.

    Attributes:
        stored: proofs for 1 to `OBJECTS_MAX` new objects.
    """

    stored: tuple[StoredObject, ...]

    def __post_init__(self) -> None:
        check_tuple("stored objects", self.stored)
        for stored in self.stored:
            check_object(stored)


class StoreObjects(Struct, frozen=True):
    """A command that records objects that were stored for no package yet.

    Contents that no package refers to start as condemned. The command always writes an event, so that the number of
    events does not tell whether the store had the contents.

    Attributes:
        stored: proofs for 1 to `OBJECTS_MAX` objects.
    """

    stored: tuple[StoredObject, ...]

    def __post_init__(self) -> None:
        check_tuple("stored objects", self.stored)
        for stored in self.stored:
            check_object(stored)


class RetireObjects(Struct, frozen=True):
    """A command that retires the keys of condemned objects, or of orphans, which no event names. Others are skipped.

    Attributes:
        objects: 1 to `OBJECTS_MAX` places.
        cause: `condemned` or `orphan`.
        until_us: retire only objects that have been condemned at this time, in microseconds since 1970 UTC; None for
            any.
    """

    objects: tuple[Place, ...]
    cause: str
    until_us: int | None = None

    def __post_init__(self) -> None:
        check_places(self.objects)
        if self.cause not in _CAUSES:
            raise InvalidValue("cause", str(self.cause)[:60], f"use one of {', '.join(_CAUSES)}")


class RemoveObjects(Struct, frozen=True):
    """A command that records that the bytes at retired keys were deleted.

    Attributes:
        objects: 1 to `OBJECTS_MAX` places.
    """

    objects: tuple[Place, ...]

    def __post_init__(self) -> None:
        check_places(self.objects)
