"""A store in a thread of its own, for programs that do not run trio.

The thread runs trio, and trio runs the store; calls come in through trio's own entry queue and answers go out through
`concurrent.futures.Future`, which both asyncio and plain threads can wait for. The host's event loops, policies and
signal handlers stay as they are.
"""

import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import override

import outcome
import trio

from artifactstore.config import Settings
from artifactstore.open import open_registry
from artifactstore.registry import Registry
from artifactstore_protocols.errors import ArtifactStoreError

__all__ = ["Portal", "StoreClosed", "in_trio"]


@dataclass(eq=False)
class StoreClosed(ArtifactStoreError):
    """The store was closed, or is being closed."""

    @override
    def __str__(self) -> str:
        return "this store is closed; open it again with open_registry"


async def in_trio[T](future: "Future[T]") -> T:
    """Wait for a future of another thread in a trio task; cancellation is passed on to the future."""
    token = trio.lowlevel.current_trio_token()
    finished = trio.Event()

    def wake(_future: "Future[T]") -> None:
        try:
            token.run_sync_soon(finished.set)
        except trio.RunFinishedError:
            return

    future.add_done_callback(wake)
    try:
        await finished.wait()
    except trio.Cancelled:
        future.cancel()
        raise
    return future.result()


class Portal:
    """One running store, reached from other threads.

    Args:
        settings: of the store; read from the environment by default.
    """

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings
        self._opened: Future[Registry] = Future()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._stop = trio.Event()
        self._ended: Future[None] = Future()
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="artifactstore", daemon=True)

    def start(self) -> "Future[Registry]":
        """Start the thread. The future holds the registry once the store runs, or why it does not."""
        self._thread.start()
        return self._opened

    def stop(self) -> "Future[None]":
        """Close the store. The future is done when everything has ended. Calls that are under way end first."""
        with self._lock:
            first, self._closing = not self._closing, True
        if first and self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):  # it never opened
                self._token.run_sync_soon(self._stop.set)
        return self._ended

    def submit[T](self, work: Callable[[Registry], Awaitable[T]]) -> "Future[T]":
        """Run `work` in the store's thread. Cancelling the future cancels what it waits for.

        Raises:
            StoreClosed: the store is closed.
        """
        answer: Future[T] = Future()
        with self._lock:
            if self._closing or self._token is None:
                raise StoreClosed
            # Under the lock, so that a stop that comes later is queued after this call.
            self._token.run_sync_soon(self._begin, work, answer)
        return answer

    def _begin[T](self, work: Callable[[Registry], Awaitable[T]], answer: "Future[T]") -> None:
        if self._nursery is None:
            answer.set_exception(StoreClosed())
        else:
            self._nursery.start_soon(self._carry, work, answer)

    async def _carry[T](self, work: Callable[[Registry], Awaitable[T]], answer: "Future[T]") -> None:
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:

            def leave(finished: "Future[T]") -> None:
                if finished.cancelled():
                    try:
                        token.run_sync_soon(scope.cancel)
                    except trio.RunFinishedError:
                        return

            answer.add_done_callback(leave)
            result = await outcome.acapture(work, self._opened.result())
            if not answer.set_running_or_notify_cancel():
                return
            if isinstance(result, outcome.Value):
                answer.set_result(result.value)
            else:
                answer.set_exception(result.error)

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:
            if not self._opened.done():
                self._opened.set_exception(error)
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with open_registry(self._settings) as registry:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._opened.set_result(registry)
                await self._stop.wait()
            self._nursery = None
