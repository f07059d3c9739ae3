"""Keep rules: which packages of one name a keep policy keeps, and which rule keeps each of them.

Every rule is judged alone, and a package is kept if at least one rule keeps it. So a further rule never lets more
packages go. Only the packages themselves count, not the current time: applying rules twice changes nothing more, and a
wrong clock lets nothing go by itself.

rule                     keeps
last N                   the N newest packages
hourly N … yearly N      the newest package of each of the N latest hours, days, weeks, months or years that have one
within DURATION          each package at most that much older than the newest one
tagged GLOB              each package with a tag that the pattern matches

A package is as new as the time of its finalizing. Of packages of the same time, the one that was finalized later in
the log is newer. Hours, days, weeks, months and years are those of UTC; a week begins on Monday.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from operator import attrgetter
from typing import Any, Final, NamedTuple

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.globs import check_glob, glob_matcher
from artifactstore_protocols.metadata import MetadataValue
from artifactstore_protocols.typed import check_fields

__all__ = [
    "KEPT_COUNT_MAX",
    "PATTERNS_MAX",
    "Candidate",
    "KeepRules",
    "duration_text",
    "judge_candidates",
    "newest_first",
    "selections",
]

KEPT_COUNT_MAX: Final = 1_000_000
"""The highest number in a rule."""

PATTERNS_MAX: Final = 100
"""The most patterns for tags in one policy."""

_AGE = attrgetter("finalized_at_us", "finalized_sequence")
_EPOCH = datetime.fromtimestamp(0, UTC)
_UNITS_US: Final = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000}
_PERIODS: Final[Mapping[str, Callable[[datetime], object]]] = {
    "hourly": lambda time: (time.date(), time.hour),
    "daily": lambda time: time.date(),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: time.year,
}


class KeepRules(Struct, frozen=True):
    """The rules of a keep policy, at least one. Invalid rules raise `InvalidValue`.

    Attributes:
        last: how many of the newest packages are kept; None for no such rule, as below.
        hourly: for how many hours with packages the newest one of each is kept.
        daily: the same for days.
        weekly: the same for weeks.
        monthly: the same for months.
        yearly: the same for years.
        within_us: up to which age, compared with the newest package, packages are kept, in microseconds.
        tagged: globs for tags; see `globs`.
    """

    last: int | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    within_us: int | None = None
    tagged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.to_map():
            reason = "give at least one rule, such as --keep-last 10: without rules, every package would go"
            raise InvalidValue("keep rules", "", reason)
        for name in ("last", *_PERIODS):
            count: int | None = getattr(self, name)
            if count is not None and not 1 <= count <= KEPT_COUNT_MAX:
                raise InvalidValue(f"keep rule {name}", str(count), f"give a number from 1 to {KEPT_COUNT_MAX}")
        if self.within_us is not None and self.within_us < 1:
            raise InvalidValue("keep rule within", str(self.within_us), "give a duration of at least 1 microsecond")
        if len(self.tagged) > PATTERNS_MAX or len(set(self.tagged)) != len(self.tagged):
            reason = f"give at most {PATTERNS_MAX} patterns, each once"
            raise InvalidValue("keep rule tagged", str(len(self.tagged)), reason)
        for pattern in self.tagged:
            check_glob(pattern)

    @classmethod
    def of_map(cls, rules: Mapping[str, MetadataValue]) -> "KeepRules":
        """Return the rules that `to_map` wrote.

        Raises:
            InvalidValue: the map has another key or another value.
        """
        if not rules.keys() <= set(cls.__struct_fields__):
            raise InvalidValue("keep rules", ", ".join(rules)[:60], "one of them is unknown")
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in rules.items()
        }
        made = cls(**fields)
        if made.to_map() != dict(rules):
            raise InvalidValue("keep rules", ", ".join(rules)[:60], "they are not in their shortest form")
        return made

    def to_map(self) -> dict[str, MetadataValue]:
        """Return the rules that are given, by name."""
        given: dict[str, MetadataValue] = {
            name: value
            for name in self.__struct_fields__
            if name != "tagged" and (value := getattr(self, name)) is not None
        }
        return {**given, "tagged": list(self.tagged)} if self.tagged else given

    def texts(self) -> Sequence[str]:
        """Return each rule as text, such as `daily 14`."""
        counted = [f"{name} {count}" for name in ("last", *_PERIODS) if (count := getattr(self, name)) is not None]
        within = [] if self.within_us is None else [f"within {duration_text(self.within_us)}"]
        return [*counted, *within, *(f"tagged {pattern}" for pattern in self.tagged)]


class Candidate(NamedTuple):
    """A finalized package that rules judge.

    Attributes:
        package_id: its id.
        finalized_at_us: the time of its finalizing, in microseconds since 1970 UTC.
        finalized_sequence: the sequence of the event that finalized it.
        tags: its tags.
    """

    package_id: str
    finalized_at_us: int
    finalized_sequence: int
    tags: tuple[str, ...] = ()


def judge_candidates(rules: KeepRules, packages: Iterable[Candidate]) -> Mapping[str, tuple[str, ...]]:
    """Return for each package of one name, newest first, the texts of the rules that keep it; none if it goes.

    The texts are those of `KeepRules.texts`, in the same order.
    """
    ordered = newest_first(packages)
    kept: dict[str, tuple[str, ...]] = {each.package_id: () for each in ordered}
    for text, keeps in selections(rules, ordered):
        for each in keeps:
            kept[each.package_id] += (text,)
    return kept


def newest_first(packages: Iterable[Candidate]) -> Sequence[Candidate]:
    """Return packages in the order in which rules judge them."""
    return sorted(packages, key=_AGE, reverse=True)


def selections(rules: KeepRules, ordered: Sequence[Candidate]) -> Iterable[tuple[str, Iterable[Candidate]]]:
    """Yield the text of each rule with the packages that it keeps, of packages in the order of `newest_first`."""
    if rules.last is not None:
        yield f"last {rules.last}", ordered[: rules.last]
    for name, period_of in _PERIODS.items():
        count: int | None = getattr(rules, name)
        if count is not None:
            yield f"{name} {count}", _newest_of_periods(ordered, period_of, count)
    if rules.within_us is not None and ordered:
        since_us = ordered[0].finalized_at_us - rules.within_us
        kept = takewhile(lambda each: each.finalized_at_us >= since_us, ordered)
        yield f"within {duration_text(rules.within_us)}", kept
    for pattern in rules.tagged:
        matches = glob_matcher(pattern)
        yield f"tagged {pattern}", (each for each in ordered if each.tags and any(map(matches, each.tags)))


def _newest_of_periods(
    ordered: Sequence[Candidate], period_of: Callable[[datetime], object], count: int
) -> list[Candidate]:
    newest: dict[object, Candidate] = {}
    for each in ordered:
        period = period_of(_EPOCH + timedelta(microseconds=each.finalized_at_us))
        if period not in newest and len(newest) == count:
            break
        newest.setdefault(period, each)
    return list(newest.values())


def duration_text(duration_us: int) -> str:
    """Return a duration as text, in days, hours or minutes: the largest unit of which it is a multiple."""
    for unit, unit_us in _UNITS_US.items():
        if duration_us % unit_us == 0:
            return f"{duration_us // unit_us}{unit}"
    return f"{duration_us} µs"
