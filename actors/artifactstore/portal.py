"""A store in a thread of its own, for programs that do not run trio.

The thread runs trio, and trio runs the store; calls come in through trio's own entry queue and answers go out through
`concurrent.futures.Future`, which both asyncio and plain threads can wait for. The host's event loops, policies and
signal handlers stay as they are.

Closing lets calls that are under way come to their end, but not those that wait for the next item of an iteration: a
tail has no end, so they break off with `StoreClosed`.
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

from artifactstore.config import Settings
from artifactstore.open import open_registry
from artifactstore.refusals import StoreClosed, WaitsForItself, WrongProcess
from artifactstore.registry import Registry
from artifactstore_protocols.storage import StorageBackend
from artifactstore_protocols.supervision import SupervisorSnapshot

__all__ = ["Call", "Iteration", "Portal", "snapshot_of"]

type _Result[T] = outcome.Value[T] | outcome.Error


class Call[T](Struct, frozen=True, eq=False):
    """Work on its way in the store's thread.

    Attributes:
        answer: what it returns or raises; cancelling this future withdraws the work.
        over: done once nothing of it runs any more, which for withdrawn work is later than its answer.
    """

    answer: Future[T] = field(default_factory=Future[T])
    over: Future[None] = field(default_factory=Future[None])


class Portal:
    """One store, reached from other threads.

    Args:
        settings: of the store; found as `Settings.load` finds them by default.
        backend: opens what holds the objects; the local directory of the settings by default.
        create: set the store up if there is none.

    Attributes:
        iterations: those that have begun, which are finished before the store closes; for the store's thread.
    """

    def __init__(
        self, settings: Settings | None, backend: Callable[[], StorageBackend] | None, *, create: bool
    ) -> None:
        self._settings = settings
        self._create = create
        self._backend = backend
        self._process = os.getpid()
        self._opened, self._ended = Future[Registry](), Future[None]()
        for future in (self._opened, self._ended):
            future.set_running_or_notify_cancel()  # whoever stops waiting for one of them does not cancel it
        self._lock = threading.Lock()
        self._closing = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop = trio.Event()
        self._calls: trio.Nursery | None = None
        self._steps: set[trio.CancelScope] = set()
        self.iterations: set[Iteration[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="artifactstore", daemon=True)

    def start(self) -> "Future[Registry]":
        """Start the thread. The future is done once the store runs, or holds why it does not."""
        self._thread.start()
        return self._opened

    def stop(self) -> "Future[None]":
        """Close the store, also one that is still opening. The future is done when everything has ended.

        In a process that was forked off since, nothing of the store runs, and nothing is left to do.
        """
        if self._process != os.getpid():
            elsewhere = Future[None]()
            elsewhere.set_result(None)
            return elsewhere
        with self._lock:
            self._closing = True
            if self._token is not None:
                with contextlib.suppress(trio.RunFinishedError):  # it never opened, or has ended on its own
                    self._token.run_sync_soon(self._stop.set)
        return self._ended

    def join(self) -> None:
        """Wait for the thread, after its end was told: a matter of microseconds."""
        self._thread.join()

    def submit[T](self, work: Callable[[Registry], Awaitable[T]], *, step: bool = False) -> Call[T]:
        """Run `work` in the store's thread, for a caller who waits for it.

        Args:
            work: what to do.
            step: closing the store breaks it off; otherwise closing waits for it.

        Raises:
            StoreClosed: the store is closed.
            WaitsForItself: the caller is a callback, which the store's thread itself runs.
            WrongProcess: this process was forked off the one that opened the store.
        """
        if self.in_own_thread:
            raise WaitsForItself
        return self.send(work, step=step)

    @property
    def in_own_thread(self) -> bool:
        """Whether this is the store's thread: a callback, or a finalizer that happened to run there."""
        return threading.get_ident() == self._thread.ident

    def send[T](self, work: Callable[[Registry], Awaitable[T]], *, step: bool = False) -> Call[T]:
        """As `submit`, for whoever may not wait."""
        if self._process != os.getpid():
            raise WrongProcess(self._process)
        call: Call[T] = Call()
        with self._lock:
            if self._closing or self._token is None:
                raise StoreClosed
            try:
                # Under the lock, so that a stop that comes later is queued after this call.
                self._token.run_sync_soon(self._begin, call, work, step)
            except trio.RunFinishedError:
                raise StoreClosed from None
        return call

    def iterate[T](self, source: Callable[[Registry], AsyncGenerator[T]]) -> "Iteration[T]":
        """Prepare to iterate over something of the store; nothing happens before the first step."""
        return Iteration(self, source(self._opened.result()))

    def enter[T](
        self, source: Callable[[Registry], AbstractAsyncContextManager[AsyncIterator[T]]]
    ) -> "Iteration[tuple[T, ...]]":
        """Prepare to iterate within a block: the first step enters it and gives `()`, each later one gives one item."""

        async def items(registry: Registry) -> AsyncGenerator[tuple[T, ...]]:
            async with source(registry) as entered:
                yield ()
                async for item in entered:
                    yield (item,)

        return self.iterate(items)

    def _begin[T](self, call: Call[T], work: Callable[[Registry], Awaitable[T]], step: bool) -> None:
        if self._calls is None:  # the store has ended on its own between this call and its turn
            _settle(call, outcome.Error(StoreClosed()))
        else:
            self._calls.start_soon(self._carry, call, work, step)

    async def _carry[T](self, call: Call[T], work: Callable[[Registry], Awaitable[T]], step: bool) -> None:
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
        result: _Result[T] = outcome.Error(StoreClosed())  # unless it comes to its own end
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
        with self._lock:
            self._token = trio.lowlevel.current_trio_token()
            if self._closing:
                self._stop.set()
        async with open_registry(self._settings, backend=self._backend, create=self._create) as registry:
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
    """An asynchronous generator that lives in the store's thread; its steps and its end never overlap."""

    def __init__(self, portal: Portal, items: AsyncGenerator[T]) -> None:
        self._portal = portal
        self._items = items
        self._turn = trio.Lock()

    def step(self) -> Call[T]:
        """Ask for the next item; the answer is `StopAsyncIteration` after the last.

        Raises:
            StoreClosed: the store is closed.
        """
        return self._portal.submit(lambda _registry: self._next(), step=True)

    def close(self) -> Call[None] | None:
        """End the iteration. Returns what can be waited for: nothing if the store's end has ended it.

        Nothing either for a finalizer that the garbage collector runs in the store's thread, of all threads.
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
        """In the store's thread: close the generator."""
        self._portal.iterations.discard(self)
        async with self._turn:
            await self._items.aclose()


async def snapshot_of(registry: Registry) -> SupervisorSnapshot:
    """What the registry's thread knows of its tree; work for `Portal.submit`."""
    return registry.snapshot()


def _settle[T](call: Call[T], result: _Result[T]) -> None:
    if call.answer.set_running_or_notify_cancel():
        if isinstance(result, outcome.Value):
            call.answer.set_result(result.value)
        else:
            call.answer.set_exception(result.error)
    call.over.set_result(None)
