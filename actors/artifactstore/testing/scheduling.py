"""A trio run whose order of tasks follows from a seed, under a clock that jumps to the next deadline when all wait.

trio shuffles the tasks that are ready in every round. Two of its private names decide how: the random source of the
shuffle, and a switch that sorts the tasks first, so that the same source gives the same order. This is the only
module that touches them; a test fails with a clear message when a release of trio no longer has them.
"""

import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import trio
from trio.testing import MockClock

__all__ = ["run_seeded", "seeded_scheduling"]

_RUN: Final[Any] = import_module("trio._core._run")


@contextmanager
def seeded_scheduling(seed: int) -> Generator[None]:
    """For the runs that begin in the block, let the seed decide in which order ready tasks proceed."""
    source: random.Random = _RUN._r  # noqa: SLF001
    before = _RUN._ALLOW_DETERMINISTIC_SCHEDULING, source.getstate()  # noqa: SLF001
    _RUN._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    source.seed(seed)
    try:
        yield
    finally:
        _RUN._ALLOW_DETERMINISTIC_SCHEDULING = before[0]  # noqa: SLF001
        source.setstate(before[1])


def run_seeded[T](seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """`trio.run` with seeded scheduling and virtual time: a sleep costs nothing, and the same seed runs the same way.

    Time stands still while any task can proceed. A run in which every task waits without a deadline never ends, so
    give `main` one.
    """
    with seeded_scheduling(seed):
        return trio.run(main, clock=MockClock(autojump_threshold=0))
