"""One asyncio event loop in a separate thread, for drivers that need asyncio.

A whole unit of work takes one thread hop from trio, and enforces its own deadline inside. Cancellation by trio never
reaches a driver, where it would interrupt a statement half way. The module changes no global state: the event loops,
policies and signal handlers of the host stay unchanged. ADR 0005 compares it with trio-asyncio.
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
    """The database is not open: it was never opened, or it is closed already."""

    template = "the database is not open; its actor may be starting again, so try again shortly"


class _Loop(Struct, eq=False):
    """An event loop that runs in a thread until `stopping` has a result."""

    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Future[_Ending]
    tasks: set[asyncio.Task[object]] = field(default_factory=set[asyncio.Task[object]])
    abandonable: set[asyncio.Task[object]] = field(default_factory=set[asyncio.Task[object]])

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        ending = await self.stopping
        for task in self.abandonable:
            task.cancel()
        while self.tasks:
            await asyncio.wait(self.tasks)
        if ending is not None:
            await ending()


class AsyncioThread:
    """An asyncio event loop in a thread, for one trio run.

    All tasks of the trio run may call `run`. Only the owner may call the other methods.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: tuple[_Loop, threading.Thread] | None = None

    def start(self) -> None:
        """Start the thread. The loop accepts work when this method returns.

        Raises:
            NoThreadLeft: the system cannot start another thread.
        """
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
        """Wait until all work has ended, then run `ending`, then end the thread. Do nothing if it is not running.

        Work is not cancelled; its own deadline bounds it. The exception is work that was started with
        `abandon_on_cancel`, which loses nothing: it is cancelled, and its waiting callers get `DatabaseClosed`.
        """
        if self._running is None:
            return
        running, thread = self._running
        self._running = None  # from now on, `run` raises `DatabaseClosed`
        running.loop.call_soon_threadsafe(running.stopping.set_result, ending)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)

    def call_soon(self, work: Callable[[], None]) -> None:
        """Schedule a call of `work` on the loop, without waiting for it. Do nothing if the loop is not running."""
        if self._running is not None:
            self._running[0].loop.call_soon_threadsafe(work)

    async def run[T](self, work: _Work[T], *, abandon_on_cancel: bool) -> T:
        """Run `work()` on the loop, and return its result or raise its error.

        Args:
            work: returns the coroutine, which must limit its own time.
            abandon_on_cancel: whether a cancelled caller returns at once. The work still runs to completion, and its
                result is discarded. If False, a cancelled caller waits for the work, as a commit requires.

        Raises:
            DatabaseClosed: the thread is not running, or it was stopped before the work ended.
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
            if abandon_on_cancel:
                running.abandonable.add(task)
            task.add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            running.tasks.discard(task)
            running.abandonable.discard(task)
            ended.append(task)
            if not task.cancelled():
                task.exception()  # retrieved even if the caller has left; otherwise asyncio logs a warning
            # With `abandon_on_cancel`, the caller's trio run may have ended by now.
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(finished.set)

        running.loop.call_soon_threadsafe(begin)
        with trio.CancelScope(shield=not abandon_on_cancel):
            await finished.wait()
        [task] = ended
        if task.cancelled():
            raise DatabaseClosed
        return task.result()
