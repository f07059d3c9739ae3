"""A store, or the client of one, in its own thread, for programs that do not run trio.

The thread runs trio, and trio runs the store. Calls enter through trio's own entry queue. Results return through
`concurrent.futures.Future`, which both asyncio and plain threads can wait for. The event loops, policies and signal
handlers of the host do not change.

Closing waits for running calls, except for those that wait for the next item of an iteration: a tail never ends. These
calls raise `StoreClosed`.
"""

import contextlib
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any

import outcome
import trio
from msgspec import Struct, field

from artifactstore.refusals import StoreClosed, WaitsForItself, WrongProcess
from artifactstore.registry import Registry
from artifactstore_protocols.supervision import SupervisorSnapshot

__all__ = ["Call", "Iteration", "Portal", "snapshot_of"]

type _Result[T] = outcome.Value[T] | outcome.Error


class Call[T](Struct, frozen=True, eq=False):
    """A call in the store's thread.

    Attributes:
        answer: future of the call's result or error. Cancelling this future cancels the call.
        over: future that is done when the call no longer runs. For a cancelled call, this is later than `answer`.
    """

    answer: Future[T] = field(default_factory=Future[T])
    over: Future[None] = field(default_factory=Future[None])


class Portal[R]:
    """One store in its own thread, for calls from other threads.

    Args:
        opening: opens the store, in that thread.

    Attributes:
        iterations: the iterations that have begun. They are finished before the store closes. Only the store's thread
            uses this set.
    """

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[R]]) -> None:
        self._opening = opening
        self._process = os.getpid()
        self._opened, self._ended = Future[R](), Future[None]()
        for future in (self._opened, self._ended):
            future.set_running_or_notify_cancel()  # so that a caller that stops waiting cannot cancel it
        # A finalizer that the garbage collector runs while this thread holds the lock may send something, too.
        self._lock = threading.RLock()
        self._closing = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop = trio.Event()
        self._calls: trio.Nursery | None = None
        self._steps: set[trio.CancelScope] = set()
        self.iterations: set[Iteration[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="artifactstore", daemon=True)

    def start(self) -> "Future[R]":
        """Start the thread. Return a future with the registry once the store runs, or with the error of the start."""
        self._thread.start()
        return self._opened

    def stop(self) -> "Future[None]":
        """Close the store, even while it is opening. Return a future that is done when the store has stopped.

        In a process that was forked later, no part of the store runs, and the future is done at once.
        """
        if self._process != os.getpid():
            elsewhere = Future[None]()
            elsewhere.set_result(None)
            return elsewhere
        with self._lock:
            self._closing = True
            if self._token is not None:
                with contextlib.suppress(trio.RunFinishedError):  # the store did not open, or has ended after an error
                    self._token.run_sync_soon(self._stop.set)
        return self._ended

    def join(self) -> None:
        """Wait for the thread to exit. This takes microseconds once the future of `stop` is done."""
        self._thread.join()

    def submit[T](self, work: Callable[[R], Awaitable[T]], *, step: bool = False) -> Call[T]:
        """Run `work` in the store's thread, for a caller that waits for the result.

        Args:
            work: the function to call, with the registry.
            step: whether closing the store cancels the work. If False, closing waits for it.

        Raises:
            StoreClosed: the store is closed.
            WaitsForItself: the caller is a callback in the store's thread, which cannot wait for its own thread.
            WrongProcess: this process was forked from the one that opened the store.
        """
        if self.in_own_thread:
            raise WaitsForItself
        return self.send(work, step=step)

    @property
    def in_own_thread(self) -> bool:
        """Return whether this is the store's thread: then the caller is a callback, or a finalizer that runs there."""
        return threading.get_ident() == self._thread.ident

    def send[T](self, work: Callable[[R], Awaitable[T]], *, step: bool = False) -> Call[T]:
        """Run `work` like `submit`, but also for a caller in the store's thread, which must not wait for the result."""
        if self._process != os.getpid():
            raise WrongProcess(self._process)
        call: Call[T] = Call()
        with self._lock:
            if self._closing or self._token is None:
                raise StoreClosed
            try:
                # Under the lock, so that a later `stop` is queued after this call.
                self._token.run_sync_soon(self._begin, call, work, step)
            except trio.RunFinishedError:
                raise StoreClosed from None
        return call

    def iterate[T](self, source: Callable[[R], AsyncGenerator[T]]) -> "Iteration[T]":
        """Return an iteration over a generator in the store's thread. Nothing runs before the first step."""
        return Iteration(self, source(self._opened.result()))

    def enter[T](
        self, source: Callable[[R], AbstractAsyncContextManager[AsyncIterator[T]]]
    ) -> "Iteration[tuple[T, ...]]":
        """Return an iteration in a context manager. Its first step enters it and gives `()`; later steps give items."""

        async def items(registry: R) -> AsyncGenerator[tuple[T, ...]]:
            async with source(registry) as entered:
                yield ()
                async for item in entered:
                    yield (item,)

        return self.iterate(items)

    def _begin[T](self, call: Call[T], work: Callable[[R], Awaitable[T]], step: bool) -> None:
        """Start a call. The store's thread runs this function from the entry queue."""
        if self._calls is None:  # the store ended after an error before this call started
            _settle(call, outcome.Error(StoreClosed()))
        else:
            self._calls.start_soon(self._carry, call, work, step)

    async def _carry[T](self, call: Call[T], work: Callable[[R], Awaitable[T]], step: bool) -> None:
        """Run a call until it ends or is cancelled, and settle its futures."""
        scope = trio.CancelScope()
        token = trio.lowlevel.current_trio_token()

        def withdraw(answer: "Future[T]") -> None:
            if answer.cancelled():
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(scope.cancel)

        if step:
            self._steps.add(scope)
            if self._closing:
                scope.cancel()
        result: _Result[T] = outcome.Error(StoreClosed())  # replaced if the work ends by itself
        try:
            with scope:
                call.answer.add_done_callback(withdraw)
                try:
                    result = outcome.Value(await work(self._opened.result()))
                except Exception as error:
                    result = outcome.Error(error)
        finally:
            self._steps.discard(scope)
            _settle(call, result)

    def _run(self) -> None:
        """Run the store. This is the main function of the thread."""
        try:
            trio.run(self._serve)
        except BaseException as error:
            if self._opened.done():
                self._ended.set_exception(error)
            else:
                self._opened.set_exception(error)
                self._ended.set_result(None)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        """Open the store, wait for `stop`, cancel steps, wait for the calls, and finish the iterations."""
        with self._lock:
            self._token = trio.lowlevel.current_trio_token()
            if self._closing:
                self._stop.set()
        async with self._opening() as registry:
            try:
                async with trio.open_nursery() as self._calls:
                    self._opened.set_result(registry)
                    await self._stop.wait()
                    for scope in self._steps:
                        scope.cancel()
            finally:
                self._calls = None
            for iteration in tuple(self.iterations):
                await iteration.finish()


class Iteration[T]:
    """An asynchronous generator in the store's thread. Its steps and its close never overlap."""

    def __init__(self, portal: Portal[Any], items: AsyncGenerator[T]) -> None:
        self._portal = portal
        self._items = items
        self._turn = trio.Lock()

    def step(self) -> Call[T]:
        """Request the next item. After the last item, the call raises `StopAsyncIteration`.

        Raises:
            StoreClosed: the store is closed.
            WaitsForItself: the caller runs in the store's thread.
            WrongProcess: this process was forked from the one that opened the store.
        """
        return self._portal.submit(lambda _registry: self._next(), step=True)

    def close(self) -> Call[None] | None:
        """Start to close the iteration. Return a call to wait for; None if the store is closed, which closes it too.

        Also return None in a forked process, and in the store's thread, where the garbage collector can run a finalizer
        that must not wait.
        """
        try:
            call = self._portal.send(lambda _registry: self.finish())
        except (StoreClosed, WrongProcess):
            return None
        return None if self._portal.in_own_thread else call

    async def _next(self) -> T:
        self._portal.iterations.add(self)
        async with self._turn:
            return await anext(self._items)

    async def finish(self) -> None:
        """Close the generator. Call this only in the store's thread."""
        self._portal.iterations.discard(self)
        async with self._turn:
            await self._items.aclose()


async def snapshot_of(registry: Registry) -> SupervisorSnapshot:
    """Return a snapshot of the supervision tree; an argument for `Portal.submit`."""
    return registry.snapshot()


def _settle[T](call: Call[T], result: _Result[T]) -> None:
    """Set the result of a call, unless it is cancelled, and mark the call as over."""
    if call.answer.set_running_or_notify_cancel():
        if isinstance(result, outcome.Value):
            call.answer.set_result(result.value)
        else:
            call.answer.set_exception(result.error)
    call.over.set_result(None)
