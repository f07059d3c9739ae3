"""One asyncio event loop in a thread of its own, for drivers that only speak asyncio.

A unit of work crosses from trio once, whole, and enforces its own deadline inside; trio's cancellation is never
forwarded into a driver, which would leave a connection half way through a statement. Nothing global is touched: the
host's event loops, policies and signal handlers stay as they are. Measured against trio-asyncio in ADR 0005.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine

import trio
from msgspec import Struct, field

from artifactstore.refusals import NoThreadLeft
from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["AsyncioThread", "DatabaseClosed"]

type _Work[T] = Callable[[], Coroutine[object, object, T]]
type _Ending = Callable[[], Awaitable[None]] | None


class DatabaseClosed(ArtifactStoreError):
    """The database's thread is not running: it was never opened, or it is closed already."""

    template = "the database is not open; its actor may be starting again, so try again shortly"


class _Loop(Struct, eq=False):
    """A loop that runs in a thread until its `stopping` is set."""

    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Future[_Ending]
    tasks: set[asyncio.Task[object]] = field(default_factory=set[asyncio.Task[object]])
    unheeded: set[asyncio.Task[object]] = field(default_factory=set[asyncio.Task[object]])

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        ending = await self.stopping
        for task in self.unheeded:
            task.cancel()
        while self.tasks:
            await asyncio.wait(self.tasks)
        if ending is not None:
            await ending()


class AsyncioThread:
    """A running asyncio loop, or none. It belongs to one trio run: all its tasks may call `run`, its owner the rest."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: tuple[_Loop, threading.Thread] | None = None

    def start(self) -> None:
        """Start the thread. The loop accepts work as soon as this returns."""
        loop = asyncio.new_event_loop()
        running = _Loop(loop, loop.create_future())
        thread = threading.Thread(target=running.run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            loop.close()
            raise NoThreadLeft from error
        self._running = running, thread

    async def stop(self, ending: _Ending = None) -> None:
        """Let work come to its end, then run `ending` as the last of all, then end the thread.

        Work comes to its own end, which its deadline bounds. Only what was started with `leave_on_cancel` is cancelled,
        since nothing is lost with it; a caller who still waits for such work gets `DatabaseClosed`.
        """
        if self._running is None:
            return
        running, thread = self._running
        self._running = None  # from here on `run` refuses
        running.loop.call_soon_threadsafe(running.stopping.set_result, ending)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)

    def call_soon(self, work: Callable[[], None]) -> None:
        """Call `work` on the loop, if it runs; hear nothing of it."""
        if self._running is not None:
            self._running[0].loop.call_soon_threadsafe(work)

    async def run[T](self, work: _Work[T], *, leave_on_cancel: bool) -> T:
        """Run `work()` on the loop and hand over what it returns or raises.

        Args:
            work: makes the coroutine; it must bound its own time.
            leave_on_cancel: a cancelled caller leaves at once; the work is completed, and its result is discarded.
                False waits for the end, which suits a commit.

        Raises:
            DatabaseClosed: the thread is not running, or was stopped before the work had come to its end.
        """
        if self._running is None:
            raise DatabaseClosed
        running, _thread = self._running
        token = trio.lowlevel.current_trio_token()
        finished = trio.Event()
        ended: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = running.loop.create_task(work())
            running.tasks.add(task)
            if leave_on_cancel:
                running.unheeded.add(task)
            task.add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            running.tasks.discard(task)
            running.unheeded.discard(task)
            ended.append(task)
            if not task.cancelled():
                task.exception()  # heard, even where the caller has left: asyncio would complain of it otherwise
            # The caller's trio run may be over by now, if it was told to leave.
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(finished.set)

        running.loop.call_soon_threadsafe(begin)
        with trio.CancelScope(shield=not leave_on_cancel):
            await finished.wait()
        [task] = ended
        if task.cancelled():
            raise DatabaseClosed
        return task.result()
