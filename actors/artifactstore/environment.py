"""The runtime environment of a store: the clock, random bits and worker threads.

All of it passes through here, so that a simulation can bring its own: it sets `environment` in the task that
everything else descends from, and trio hands the context on to every task and thread. Deadlines are not here: they
are trio's, and virtual where its clock is.
"""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Final, Protocol, override

import trio

from artifactstore.refusals import NoThreadLeft

__all__ = ["Environment", "check_wanted", "environment", "in_thread", "thread_beside"]


class Environment(Protocol):
    """A clock, a source of randomness and worker threads."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        ...

    def random_bits(self, count: int) -> int:
        """A number of this many bits that nobody can guess."""
        ...

    async def in_thread[T](
        self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None, abandon_on_cancel: bool
    ) -> T:
        """Run a call that may block; arguments as for `trio.to_thread.run_sync`."""
        ...

    def check_wanted(self) -> None:
        """Raise, in a call that `in_thread` runs, once its caller is cancelled."""
        ...

    def thread_beside(self, name: str) -> Executor:
        """A further thread for a call that `in_thread` runs, which leaves it at its end."""
        ...


class _ProcessEnvironment(Environment):
    @override
    def now_us(self) -> int:
        return time.time_ns() // 1000

    @override
    def random_bits(self, count: int) -> int:
        return secrets.randbits(count)

    @override
    async def in_thread[T](
        self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None, abandon_on_cancel: bool
    ) -> T:
        begun = False

        def begin() -> T:
            nonlocal begun
            begun = True
            return work()

        try:
            return await trio.to_thread.run_sync(begin, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
        except RuntimeError as error:
            if begun:
                raise
            raise NoThreadLeft from error

    @override
    def check_wanted(self) -> None:
        trio.from_thread.check_cancelled()

    @override
    def thread_beside(self, name: str) -> Executor:
        return ThreadPoolExecutor(1, name)


environment: Final[ContextVar[Environment]] = ContextVar("environment", default=_ProcessEnvironment())  # noqa: B039 - it has no state
"""The environment of the current task, thread and all that they start: the real one unless a simulation set another."""


async def in_thread[T](
    work: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None, abandon_on_cancel: bool = False
) -> T:
    """Run a call that may block in a worker thread; arguments as for `trio.to_thread.run_sync`."""
    return await environment.get().in_thread(work, limiter=limiter, abandon_on_cancel=abandon_on_cancel)


def check_wanted() -> None:
    """Raise, in a call that `in_thread` runs, once its caller is cancelled."""
    environment.get().check_wanted()


def thread_beside(name: str) -> Executor:
    """A further thread for a call that `in_thread` runs, to be left at its end; a context manager."""
    return environment.get().thread_beside(name)
