"""One asyncio event loop in a thread of its own, for drivers that only speak asyncio.

A unit of work crosses from trio once, whole, and enforces its own deadline inside; trio's cancellation is never
forwarded into a driver, which would leave a connection half way through a statement. Nothing global is touched: the
host's event loops, policies and signal handlers stay as they are. Measured against trio-asyncio in ADR 0005.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import override

import outcome
import trio

from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["AsyncioThread", "DatabaseClosed"]


@dataclass(eq=False)
class DatabaseClosed(ArtifactStoreError):
    """The database's thread is not running: it was never opened, or it is closed already."""

    @override
    def __str__(self) -> str:
        return "the database is not open; its actor may be starting again, so try again shortly"


class AsyncioThread:
    """A running asyncio loop, or none. `start` and `stop` belong to one owner; `run` may be called by any trio task."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    def start(self) -> None:
        """Start the thread. The loop accepts work as soon as this returns."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._serve, args=(loop,), name=self._name, daemon=True)
        thread.start()
        self._loop, self._thread = loop, thread

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def stop(self) -> None:
        """Let work that has begun come to its end, then end the thread. Work has deadlines, so this is bounded."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None  # from here on `run` refuses

        async def settle() -> None:
            me = asyncio.current_task()
            while others := [task for task in self._tasks if task is not me]:
                await asyncio.wait(others)
            loop.call_soon(loop.stop)

        loop.call_soon_threadsafe(lambda: self._begin(loop, settle()))
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)

    def _begin(self, loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, object]) -> None:
        task = loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run[T](self, work: Callable[[], Coroutine[object, object, T]], *, leave_on_cancel: bool) -> T:
        """Run `work()` on the loop and hand over what it returns or raises.

        Args:
            work: makes the coroutine; it must bound its own time.
            leave_on_cancel: a cancelled caller leaves at once and the work goes on unheard, which suits a read. False
                waits for the end, which suits a commit.

        Raises:
            DatabaseClosed: the thread is not running.
        """
        loop = self._loop
        if loop is None:
            raise DatabaseClosed
        token = trio.lowlevel.current_trio_token()
        finished = trio.Event()
        result: outcome.Outcome[T] | None = None

        async def carry() -> None:
            nonlocal result
            result = await outcome.acapture(work)
            # The caller's trio run may be over by now, if it was told to leave.
            try:
                token.run_sync_soon(finished.set)
            except trio.RunFinishedError:
                return

        loop.call_soon_threadsafe(lambda: self._begin(loop, carry()))
        with trio.CancelScope(shield=not leave_on_cancel):
            await finished.wait()
        if result is None:
            raise DatabaseClosed
        return result.unwrap()
