"""Seeded trio runs: a seed decides the order of tasks, and the clock jumps to the next deadline when all tasks wait.

trio shuffles the runnable tasks in every round. Two of its private names control the order: the random source of the
shuffle, and a switch that sorts the tasks first, so that equal sources give equal orders. No other module uses these
names. A test fails with a clear message if a release of trio lacks them.
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
    """Let a seed decide the order of runnable tasks, in trio runs that begin within the block."""
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
    """Run `main` with `trio.run`, seeded scheduling and virtual time.

    The same seed gives the same run, and a sleep takes no real time. Virtual time stands still while any task can run.
    A run in which every task waits without a deadline never ends, so give `main` a deadline.
    """
    with seeded_scheduling(seed):
        return trio.run(main, clock=MockClock(autojump_threshold=0))
