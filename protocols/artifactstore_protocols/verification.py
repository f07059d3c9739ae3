"""Values of verification: the order in which objects are due, samples of objects, and the state of a whole store.

Each object has a `verified_sequence`: the event that stored its bytes, or the event of its last verification. Objects
are verified in the order of this sequence, so the object that was not read for the longest time comes first. A verified
object moves to the end of the order. So an interrupted verification continues where it stopped.

A sample is chosen by the digests of contents. Digests are evenly distributed, so an arc of their last four bytes is a
random sample, and a database finds it without a hash function.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import InvalidValue

__all__ = [
    "EVERY_OBJECT",
    "SAMPLE_BYTES",
    "SEED_MAX",
    "SHARE_ALL_PPM",
    "VERIFIED_OBJECTS_MAX",
    "DueKey",
    "DueObjects",
    "Sample",
    "VerificationState",
    "VerifiedKey",
]

SHARE_ALL_PPM: Final = 1_000_000
"""The share of a sample of everything, in parts per million."""

SAMPLE_BYTES: Final = 4
"""The number of bytes at the end of a digest that decide whether a sample has the content."""

SEED_MAX: Final = (1 << 32) - 1

VERIFIED_OBJECTS_MAX: Final = 2048
"""The most objects that one event says are verified, and so the most rows that it changes."""

_ALL: Final = 1 << 32

type DueKey = tuple[int, bytes, str, str]
"""The position of an object in the order of verification: `verified_sequence`, digest, backend and key."""


class VerifiedKey(NamedTuple):
    """The position of an object in the order of verification, as an event has it; its key contains its digest."""

    sequence: int
    place: Place


class Sample(Struct, frozen=True):
    """A random sample of contents.

    Attributes:
        share_ppm: the share of all contents, in parts per million.
        seed: a number that selects the sample; 0 for a sample of everything.
    """

    share_ppm: int
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.share_ppm) is not int or not 0 < self.share_ppm <= SHARE_ALL_PPM:
            raise InvalidValue("sample", str(self.share_ppm)[:60], f"a share is 1 to {SHARE_ALL_PPM} parts per million")
        if type(self.seed) is not int or not 0 <= self.seed <= SEED_MAX:
            raise InvalidValue("seed", str(self.seed)[:60], f"use a number from 0 to {SEED_MAX}")
        if self.share_ppm == SHARE_ALL_PPM and self.seed:
            raise InvalidValue("seed", str(self.seed), "a sample of everything has the seed 0")

    @property
    def arcs(self) -> tuple[tuple[bytes, bytes], ...]:
        """The first and the last end of a digest in each run of ends that the sample has; empty for everything."""
        if self.share_ppm == SHARE_ALL_PPM:
            return ()
        width = max(1, self.share_ppm * _ALL // SHARE_ALL_PPM)
        last = self.seed + width - 1
        if last <= SEED_MAX:
            return ((_end(self.seed), _end(last)),)
        return ((_end(self.seed), _end(SEED_MAX)), (_end(0), _end(last - _ALL)))


def _end(number: int) -> bytes:
    return number.to_bytes(SAMPLE_BYTES)


EVERY_OBJECT: Final = Sample(SHARE_ALL_PPM)


class DueObjects(Struct, frozen=True):
    """The objects that a verification is to read.

    Attributes:
        up_to: only objects whose last verification, or storing, is this event or an earlier one.
        sample: only objects whose contents this sample has.
    """

    up_to: int
    sample: Sample = EVERY_OBJECT


class VerificationState(Struct, frozen=True):
    """How current the verification of a store is.

    Attributes:
        verified_at_us: the time of the last event that says that objects of the whole store were verified; None if
            there is none. A verification of one package does not count.
        verified_sequence: the sequence of this event; 0 if there is none.
        oldest_at_us: since when no verification and no ingest has read the object that was not read for the longest
            time; None if the store has no objects.
    """

    verified_at_us: int | None = None
    verified_sequence: int = 0
    oldest_at_us: int | None = None
