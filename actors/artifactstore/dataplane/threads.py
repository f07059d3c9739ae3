"""The worker threads of a data plane. There are few, since each holds chunks of memory and can use a whole core."""

from collections.abc import Callable

import trio

from artifactstore.environment import in_thread

__all__ = ["WorkerThreads"]


class WorkerThreads:
    """Worker threads that run blocking calls outside the event loop.

    A call that has started always finishes before its caller continues, so that no file is closed while the call uses
    it. Only `probe` abandons a call. A long call should use `environment.check_cancelled`, which raises in the thread
    once the caller is cancelled.
    """

    __slots__ = ("_compaction_limiter", "_probe_limiter", "_work_limiter")

    def __init__(self, max_threads: int) -> None:
        self._work_limiter = trio.CapacityLimiter(max_threads)
        self._probe_limiter = trio.CapacityLimiter(1)
        self._compaction_limiter = trio.CapacityLimiter(1)

    async def run[T](self, work: Callable[[], T]) -> T:
        """Run `work` in the next free thread."""
        return await in_thread(work, limiter=self._work_limiter)

    async def clean_up(self, work: Callable[[], None]) -> None:
        """Run `work` at once, without waiting for a free thread, even if the caller is cancelled."""
        with trio.CancelScope(shield=True):
            await in_thread(work, limiter=trio.CapacityLimiter(1))

    async def compact[T](self, work: Callable[[], T]) -> T:
        """Run a compaction, one at a time, beside other work."""
        return await in_thread(work, limiter=self._compaction_limiter)

    async def probe[T](self, work: Callable[[], T]) -> T:
        """Run a measurement, one at a time, beside other work. Cancellation abandons it, since a device may hang."""
        return await in_thread(work, limiter=self._probe_limiter, abandon_on_cancel=True)
