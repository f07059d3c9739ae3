"""The clock that actors get."""

import time

import trio
import trio.testing

from artifactstore.supervision import SystemClock


async def test_the_systems_clock_is_trios_and_the_calendars(autojump_clock: trio.testing.MockClock) -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await trio.sleep(5)
    assert clock.monotonic() - before == 5
    assert time.time_ns() // 1000 - clock.utc_us() <= 0
