"""The guard of expiry: which clock it trusts, and how much may go at once."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from artifactstore_protocols.event_types import ClockConfirmed, ClockObserved
from artifactstore_protocols.expiry import (
    CLOCK_AHEAD_US_MAX,
    CLOCK_BEHIND_US_MAX,
    OBSERVED_EVERY_US,
    ClockDoubtful,
    TooMuchExpires,
    check_clock,
    check_share,
)
from artifactstore_protocols.judging import command_needs, decide
from artifactstore_protocols.life_cycle import ConfirmClock, ObserveClock
from artifactstore_protocols.state import LogState, Needs
from command_strategies import evolved

SEEN_US = 10**15
TEN_YEARS_US = 10 * 365 * 86_400_000_000


def test_a_clock_is_trusted_near_the_time_that_was_seen_last() -> None:
    for now_us in (SEEN_US - CLOCK_BEHIND_US_MAX, SEEN_US, SEEN_US + CLOCK_AHEAD_US_MAX):
        check_clock(now_us, SEEN_US)
    check_clock(0, None)
    with pytest.raises(ClockDoubtful, match="which is behind the time"):
        check_clock(SEEN_US - CLOCK_BEHIND_US_MAX - 1, SEEN_US)
    with pytest.raises(ClockDoubtful, match=r"more than 31 days ahead .* `artifactstore clock confirm`"):
        check_clock(SEEN_US + CLOCK_AHEAD_US_MAX + 1, SEEN_US)


def test_an_observation_never_follows_a_jump_but_a_confirmation_does() -> None:
    state = LogState(clock_us=SEEN_US)
    for jump_us in (TEN_YEARS_US, -TEN_YEARS_US):
        with pytest.raises(ClockDoubtful):
            decide(ObserveClock(SEEN_US + jump_us), state, entries_max=1)
    assert decide(ObserveClock(SEEN_US + OBSERVED_EVERY_US - 1), state, entries_max=1) == ()
    observed = (ClockObserved(SEEN_US + OBSERVED_EVERY_US),)
    assert decide(ObserveClock(SEEN_US + OBSERVED_EVERY_US), state, entries_max=1) == observed
    ahead = ConfirmClock(SEEN_US + TEN_YEARS_US)
    assert decide(ahead, state, entries_max=1) == (ClockConfirmed(SEEN_US + TEN_YEARS_US),)
    assert evolved(state, ahead, after=5).clock_us == SEEN_US + TEN_YEARS_US
    assert decide(ObserveClock(SEEN_US), LogState(), entries_max=1) == ()
    assert command_needs([ObserveClock(0)]) == Needs(clock=True)


@given(expiring=st.integers(0, 30), others=st.integers(0, 30), confirmed=st.none() | st.integers(0, 30))
@example(expiring=10, others=10, confirmed=None)
@example(expiring=10, others=9, confirmed=None)
@example(expiring=9, others=0, confirmed=None)
@example(expiring=0, others=17, confirmed=3)
def test_most_packages_go_only_by_their_exact_number(expiring: int, others: int, confirmed: int | None) -> None:
    many = expiring >= 10 and expiring > others
    if expiring == 0 or (not many if confirmed is None else confirmed == expiring):
        check_share(expiring, expiring + others, confirmed)
        return
    with pytest.raises(TooMuchExpires, match=f"--yes-expire {expiring}$"):
        check_share(expiring, expiring + others, confirmed)
