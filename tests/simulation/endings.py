"""The operations that keep packages, end them, and give their room back: plain data, as in `workload.py`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from simulation.bounds import Within
from simulation.contents import PACKAGES

__all__ = [
    "JUMP_US",
    "Collect",
    "DeletePackage",
    "Expire",
    "Extend",
    "Jump",
    "MoveClock",
    "PlaceHold",
    "ReleaseHold",
    "Retain",
]


@dataclass(frozen=True, slots=True)
class DeletePackage:
    """Delete a package; a finalized one only if its retention has ended, or `before_expiry`."""

    WEIGHT: ClassVar[int] = 4
    package: Annotated[int, Within(0, PACKAGES - 1)]
    before_expiry: bool


@dataclass(frozen=True, slots=True)
class PlaceHold:
    """Place a hold on a package."""

    WEIGHT: ClassVar[int] = 2
    package: Annotated[int, Within(0, PACKAGES - 1)]
    keyed: bool


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    """Release the oldest hold on a package, if there is one."""

    WEIGHT: ClassVar[int] = 1
    package: Annotated[int, Within(0, PACKAGES - 1)]


@dataclass(frozen=True, slots=True)
class Retain:
    """Keep a package for so many days after it was finalized; 0 days mean for ever."""

    WEIGHT: ClassVar[int] = 2
    package: Annotated[int, Within(0, PACKAGES - 1)]
    days: Annotated[int, Within(0, 3)]


@dataclass(frozen=True, slots=True)
class Extend:
    """Keep a package a day longer."""

    WEIGHT: ClassVar[int] = 1
    package: Annotated[int, Within(0, PACKAGES - 1)]
    keyed: bool


@dataclass(frozen=True, slots=True)
class Expire:
    """Let go what is due; open packages that nobody touched for a minute too, or for a week."""

    WEIGHT: ClassVar[int] = 3
    soon: bool


@dataclass(frozen=True, slots=True)
class Collect:
    """Collect; each age is 0, or one that only a clock which moves passes."""

    WEIGHT: ClassVar[int] = 6
    grace: bool
    orphan_age: bool


class Jump(StrEnum):
    """Where a clock goes."""

    HOURS_AHEAD = "hours ahead"
    DAYS_AHEAD = "days ahead"
    YEARS_AHEAD = "years ahead"
    DAYS_BACK = "days back"
    YEARS_BACK = "years back"


_DAY_US: Final = 86_400_000_000

JUMP_US: Final = {
    Jump.HOURS_AHEAD: _DAY_US // 12,
    Jump.DAYS_AHEAD: 5 * _DAY_US,
    Jump.YEARS_AHEAD: 3650 * _DAY_US,
    Jump.DAYS_BACK: -4 * _DAY_US,
    Jump.YEARS_BACK: -3650 * _DAY_US,
}


@dataclass(frozen=True, slots=True)
class MoveClock:
    """Move the clocks of all machines, and confirm the new time or not."""

    WEIGHT: ClassVar[int] = 2
    jump: Jump
    confirmed: bool
