"""A pace keeps reads below a rate, by trio's clock."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from artifactstore.pace import Pace


def _starts(rate: int | None, sizes: list[int], *, at_once: int = 1) -> list[tuple[float, int]]:
    """When each read begins, and its size; a read itself takes no time."""
    begun: list[tuple[float, int]] = []

    async def main() -> None:
        pace, began = Pace(rate), trio.current_time()
        left = iter(sizes)

        async def read() -> None:
            for size in left:
                await pace.before(size)
                begun.append((trio.current_time() - began, size))

        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(read)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return begun


@given(
    rate=st.integers(1, 1000),
    sizes=st.lists(st.integers(0, 5000), max_size=12),
    at_once=st.integers(1, 3),
)
def test_what_was_read_before_a_read_fits_the_rate(rate: int, sizes: list[int], at_once: int) -> None:
    begun = _starts(rate, sizes, at_once=at_once)
    assert sorted(size for _at, size in begun) == sorted(sizes)
    read = 0
    for at, size in begun:
        assert at == pytest.approx(read / rate, abs=1e-6)
        read += size


def test_without_a_rate_nothing_waits() -> None:
    assert _starts(None, [10**12, 1]) == [(0, 10**12), (0, 1)]
