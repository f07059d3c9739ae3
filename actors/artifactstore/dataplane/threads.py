"""The worker threads of a data plane: few, since each holds a chunk of memory and a core's worth of hashing."""

from collections.abc import Callable

import trio

from artifactstore.environment import in_thread

__all__ = ["WorkerThreads"]


class WorkerThreads:
    """Runs blocking calls away from the event loop.

    A call that has started always finishes before its caller continues, so that no file is closed under it;
    long ones ask `environment.check_wanted`, which raises in the thread once the caller is cancelled.
    """

    __slots__ = ("_probe_limiter", "_work_limiter")

    def __init__(self, max_threads: int) -> None:
        self._work_limiter = trio.CapacityLimiter(max_threads)
        self._probe_limiter = trio.CapacityLimiter(1)

    async def run[T](self, work: Callable[[], T]) -> T:
        """Run work in the next free thread."""
        return await in_thread(work, limiter=self._work_limiter)

    async def clean_up(self, work: Callable[[], None]) -> None:
        """Run work even for a cancelled caller, and without waiting for a free thread."""
        with trio.CancelScope(shield=True):
            await in_thread(work, limiter=trio.CapacityLimiter(1))

    async def probe[T](self, work: Callable[[], T]) -> T:
        """Run a measurement that may be abandoned when its device hangs; one at a time, beside all other work."""
        return await in_thread(work, limiter=self._probe_limiter, abandon_on_cancel=True)
