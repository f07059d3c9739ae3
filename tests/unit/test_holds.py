"""The rules of holds and retention, and a model of both: what may go at last is what the rules say, and no more."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.commands import Command
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_types import HoldPlaced, HoldReleased, RetentionChanged
from artifactstore_protocols.judging import command_needs, decide
from artifactstore_protocols.life_cycle import (
    CUSTOM,
    DURATION_US_MAX,
    DeletePackage,
    ExpirePackage,
    ExtendRetention,
    PlaceHold,
    ReleaseHold,
    SetRetention,
)
from artifactstore_protocols.packages import HoldNotFound, NotFinalized, PackageGone, PackageKept, PackageNotFound
from artifactstore_protocols.retention import RETENTION_CLASSES, UnknownRetentionClass
from artifactstore_protocols.state import LogState, Needs
from command_strategies import evolved, finalized, opened, package_id_of

FIRST, HOLD, OTHER_HOLD = package_id_of(1), package_id_of(11), package_id_of(12)
RETAINED_FROM_US, EXPIRES_AT_US = 1_000, 5_000


def retained() -> LogState:
    """A finalized package whose retention ends then."""
    state = finalized()
    package = state.packages[FIRST]
    package.retained_from_us, package.expires_at_us, package.retention_class = RETAINED_FROM_US, EXPIRES_AT_US, CUSTOM
    return state


def held(*hold_ids: str) -> LogState:
    return evolved(retained(), *(PlaceHold(each, FIRST, "a case") for each in hold_ids), after=5)


def decided(command: Command, state: LogState) -> object:
    payloads = decide(command, state, entries_max=1)
    return payloads[0] if payloads else None


def test_a_hold_keeps_a_package_until_the_last_one_is_released() -> None:
    assert decided(PlaceHold(HOLD, FIRST, "a case"), retained()) == HoldPlaced(HOLD, FIRST, "a case")
    state = held(HOLD, OTHER_HOLD)
    delete, expire = DeletePackage(FIRST, "no", before_expiry=True), ExpirePackage(FIRST, "retention", 2**50, 2)
    for hold_id in (HOLD, OTHER_HOLD):
        for command in (delete, expire):
            with pytest.raises(PackageKept, match="release it first"):
                decided(command, state)
        assert decided(ReleaseHold(hold_id), state) == HoldReleased(hold_id, FIRST)
        evolved(state, ReleaseHold(hold_id), after=8)
    assert decided(delete, state) is not None
    assert decided(expire, state) is not None


def test_what_cannot_be_held_or_released() -> None:
    with pytest.raises(InvalidValue, match="another hold has it"):
        decided(PlaceHold(HOLD, FIRST, "a case"), held(HOLD))
    with pytest.raises(HoldNotFound):
        decided(ReleaseHold(OTHER_HOLD), held(HOLD))
    with pytest.raises(PackageNotFound):
        decided(PlaceHold(HOLD, FIRST, "a case"), LogState())
    with pytest.raises(PackageGone):
        decided(PlaceHold(HOLD, FIRST, "a case"), evolved(opened(), DeletePackage(FIRST, "no"), after=5))


def test_retention_is_set_shorter_and_longer() -> None:
    for name, kept in RETENTION_CLASSES.items():
        duration_us = kept.duration_us
        until = None if duration_us is None else RETAINED_FROM_US + duration_us
        assert decided(SetRetention(FIRST, name), retained()) == RetentionChanged(FIRST, name, duration_us, until)
    assert decided(SetRetention(FIRST, CUSTOM, 1), retained()) == RetentionChanged(FIRST, CUSTOM, 1, 1_001)
    assert decided(SetRetention(FIRST, CUSTOM, EXPIRES_AT_US - RETAINED_FROM_US), retained()) is None
    with pytest.raises(PackageKept, match="gets no shorter"):
        decided(SetRetention(FIRST, CUSTOM, 1), held(HOLD))
    assert decided(SetRetention(FIRST, "permanent"), held(HOLD)) is not None
    with pytest.raises(UnknownRetentionClass):
        decided(SetRetention(FIRST, "forever"), retained())
    with pytest.raises(NotFinalized):
        decided(SetRetention(FIRST, "short"), opened())


def test_retention_is_extended_from_its_end_or_from_now() -> None:
    extended = decided(ExtendRetention(FIRST, 10, 0), retained())
    assert extended == RetentionChanged(FIRST, CUSTOM, 4_010, 5_010)
    assert decided(ExtendRetention(FIRST, 10, 6_000), retained()) == RetentionChanged(FIRST, CUSTOM, 5_010, 6_010)
    with pytest.raises(PackageKept, match="permanent"):
        decided(ExtendRetention(FIRST, 10, 0), evolved(retained(), SetRetention(FIRST, "permanent"), after=5))
    with pytest.raises(InvalidValue, match="36500 days"):
        decided(ExtendRetention(FIRST, DURATION_US_MAX, 0), retained())
    for duration_us in (0, DURATION_US_MAX + 1):
        with pytest.raises(InvalidValue, match="duration"):
            ExtendRetention(FIRST, duration_us, 0)


def test_deciding_needs_what_keeps_the_package() -> None:
    first, hold = frozenset({FIRST}), frozenset({HOLD})
    assert command_needs([PlaceHold(HOLD, FIRST, "a case")]) == Needs(packages=first, kept=first, holds=hold)
    assert command_needs([ReleaseHold(HOLD)]) == Needs(holds=hold)


@dataclass
class Model:
    """What a person would write down about one package."""

    expires_at_us: int | None = EXPIRES_AT_US
    holds: set[str] = field(default_factory=set[str])
    gone: bool = False

    def accepts(self, command: Command) -> bool:  # noqa: PLR0911 - one rule for each command
        """Whether the command changes or confirms something, and what is true then."""
        if isinstance(command, ReleaseHold):
            if command.hold_id not in self.holds:
                return False
            self.holds.discard(command.hold_id)
            return True
        if isinstance(command, ExpirePackage):
            if self.gone:
                return True
            is_over = self.expires_at_us is not None and self.expires_at_us <= command.as_of_us
            self.gone = is_over and not self.holds
            return self.gone
        if self.gone:
            return False
        if isinstance(command, PlaceHold):
            if command.hold_id in self.holds:
                return False
            self.holds.add(command.hold_id)
            return True
        if isinstance(command, ExtendRetention):
            if self.expires_at_us is None:
                return False
            self.expires_at_us = max(self.expires_at_us, command.as_of_us) + command.duration_us
            return True
        assert isinstance(command, SetRetention)
        wanted = None if command.duration_us is None else RETAINED_FROM_US + command.duration_us
        now = self.expires_at_us
        if self.holds and wanted is not None and (now is None or wanted < now):
            return False
        self.expires_at_us = wanted
        return True


_HOLDS = st.sampled_from([HOLD, OTHER_HOLD])
_SPANS = st.integers(1, 9).map(lambda number: number * 1_000)
_COMMANDS = st.one_of(
    st.builds(PlaceHold, _HOLDS, st.just(FIRST), st.just("a case")),
    st.builds(ReleaseHold, _HOLDS),
    st.builds(SetRetention, st.just(FIRST), st.just("permanent")),
    st.builds(SetRetention, st.just(FIRST), st.just(CUSTOM), _SPANS),
    st.builds(ExtendRetention, st.just(FIRST), _SPANS, _SPANS),
    st.builds(ExpirePackage, st.just(FIRST), st.just("retention"), _SPANS, st.just(2)),
)


@given(program=st.lists(_COMMANDS, max_size=20))
def test_the_rules_do_what_the_model_says(program: list[Command]) -> None:
    state, model = retained(), Model()
    for number, command in enumerate(program):
        expected = model.accepts(command)
        try:
            evolved(state, command, after=10 + number)
        except ArtifactStoreError:
            assert not expected, command
        else:
            assert expected, command
        package = state.packages[FIRST]
        assert (package.gone is not None, package.expires_at_us) == (model.gone, model.expires_at_us)
        assert package.holds == model.holds
