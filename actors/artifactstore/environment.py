"""The runtime environment of a store: the clock, random bits and worker threads.

All code takes them from this module, so that a simulation can replace them. It sets `environment` in its root task, and
trio copies the context to every task and thread. Deadlines are not part of the environment: trio's clock controls them.
"""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Final, Protocol, override

import trio

from artifactstore.refusals import NoThreadLeft

__all__ = ["Environment", "check_cancelled", "environment", "in_thread", "thread_beside"]


class Environment(Protocol):
    """The interface to a clock, a source of randomness and worker threads."""

    def now_us(self) -> int:
        """Return the time in microseconds since the epoch, UTC."""
        ...

    def random_bits(self, count: int) -> int:
        """Return an unpredictable number of `count` bits."""
        ...

    async def in_thread[T](
        self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None, abandon_on_cancel: bool
    ) -> T:
        """Run a blocking call in a worker thread; the arguments are those of `trio.to_thread.run_sync`."""
        ...

    def check_cancelled(self) -> None:
        """Raise `trio.Cancelled` if the caller of the surrounding `in_thread` call is cancelled."""
        ...

    def thread_beside(self, name: str) -> Executor:
        """Return a further thread for a call that `in_thread` runs. The call must shut it down at its end."""
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
    def check_cancelled(self) -> None:
        trio.from_thread.check_cancelled()

    @override
    def thread_beside(self, name: str) -> Executor:
        return ThreadPoolExecutor(1, name)


environment: Final[ContextVar[Environment]] = ContextVar("environment", default=_ProcessEnvironment())  # noqa: B039 - the default has no state
"""The environment of the current task or thread. Tasks and threads that it starts inherit the environment."""


async def in_thread[T](
    work: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None, abandon_on_cancel: bool = False
) -> T:
    """Run a blocking call in a worker thread; the arguments are those of `trio.to_thread.run_sync`."""
    return await environment.get().in_thread(work, limiter=limiter, abandon_on_cancel=abandon_on_cancel)


def check_cancelled() -> None:
    """Raise `trio.Cancelled` if the caller of the surrounding `in_thread` call is cancelled."""
    environment.get().check_cancelled()


def thread_beside(name: str) -> Executor:
    """Return a further thread, as a context manager, for a call that `in_thread` runs."""
    return environment.get().thread_beside(name)
