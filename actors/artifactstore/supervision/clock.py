"""The two times that an actor may ask for: one that only moves on, and the calendar's.

Both come through the actor's context, so that a test or a simulation can supply its own. Deadlines and timers of the
runtime itself are trio's: under `trio.testing.MockClock` they are virtual.
"""

import time
from typing import Protocol, override

import trio

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Tells the time."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back. Deadlines are in this time."""
        ...

    def utc_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z by the calendar; may go back when it is set."""
        ...


class SystemClock(Clock):
    """trio's clock, and the operating system's calendar."""

    @override
    def monotonic(self) -> float:
        return trio.current_time()

    @override
    def utc_us(self) -> int:
        return time.time_ns() // 1000
