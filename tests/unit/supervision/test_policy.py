"""Policies: what can be made, and the laws of the backoff."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.supervision import Backoff, Batched, Concurrent, Intensity, MailboxLimits


def backoff(initial_s: float, growth: float, factor: float, jitter: float) -> Backoff:
    return Backoff(initial_s=initial_s, maximum_s=initial_s * growth, factor=factor, jitter=jitter)


BACKOFFS = st.builds(backoff, st.floats(0, 100), st.floats(1, 1000), st.floats(1, 10), st.floats(0, 1))
DRAWS = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Intensity(max_restarts=-1),
        lambda: Intensity(period_s=0),
        lambda: Intensity(period_s=math.inf),
        lambda: Backoff(initial_s=-1),
        lambda: Backoff(initial_s=2, maximum_s=1),
        lambda: Backoff(maximum_s=math.inf),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(factor=math.inf),
        lambda: Backoff(jitter=1.5),
        lambda: Backoff(jitter=-0.1),
        lambda: Backoff(healthy_after_s=-1),
        lambda: MailboxLimits(messages=0),
        lambda: MailboxLimits(bytes=-1),
        lambda: Concurrent(0),
        lambda: Batched(0, 1),
        lambda: Batched(1, -1),
    ],
)
def test_an_invalid_policy_cannot_be_made(make: type[object]) -> None:
    with pytest.raises(ValueError, match=r"must|need|between|holds|above"):
        make()


@given(BACKOFFS, st.integers(0, 10_000), DRAWS)
def test_a_delay_stays_between_its_jittered_floor_and_the_maximum(backoff: Backoff, attempt: int, draw: float) -> None:
    delay = backoff.delay_s(attempt, draw)
    assert backoff.initial_s * (1 - backoff.jitter) <= delay <= backoff.maximum_s


@given(BACKOFFS, st.integers(0, 200), DRAWS)
def test_delays_never_shrink_with_the_attempts(backoff: Backoff, attempt: int, draw: float) -> None:
    assert backoff.delay_s(attempt, draw) <= backoff.delay_s(attempt + 1, draw)


def test_delays_double_until_the_maximum() -> None:
    backoff = Backoff(initial_s=1, factor=2, maximum_s=5, jitter=0.5)
    assert [backoff.delay_s(attempt, 0) for attempt in range(4)] == [1, 2, 4, 5]
    assert backoff.delay_s(0, 0.5) == 0.75
    assert backoff.delay_s(100_000, 0) == 5
