"""Calls from asyncio to a store in its own thread: answers, iterations and blocks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

from artifactstore.host_loop import must_be_asyncio
from artifactstore.portal import Call, Iteration, Portal

__all__ = ["answer", "entered", "items", "opened"]


async def uncancelled[T](future: "Future[T]") -> T:
    """Wait for a future of the store, even if the waiting task is cancelled; then raise the first cancellation."""
    waiting = asyncio.wrap_future(future)
    cancelled: asyncio.CancelledError | None = None
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
        except Exception:
            break
    if cancelled is not None:
        raise cancelled
    return waiting.result()


async def answer[T](begin: Callable[[], Call[T]]) -> T:
    """Wait for an answer. Cancelling the waiting task withdraws the call, and waits until no part of it runs."""
    must_be_asyncio()
    call = begin()
    try:
        return await asyncio.wrap_future(call.answer)
    except asyncio.CancelledError:
        call.answer.cancel()
        await uncancelled(call.over)
        raise


async def items[T](iteration: Iteration[T]) -> AsyncGenerator[T]:
    """Yield the items of an iteration. Leaving it early closes it."""
    try:
        while True:
            try:
                yield await answer(iteration.step)
            except StopAsyncIteration:
                return
    finally:
        if (closing := iteration.close()) is not None:
            await uncancelled(closing.over)


@asynccontextmanager
async def entered[T](entering: Iteration[tuple[T, ...]]) -> AsyncGenerator[AsyncIterator[T]]:
    """Enter a context manager in the store's thread, yield its items, and leave it with this block."""

    async def each() -> AsyncGenerator[T]:
        async for item in steps:
            yield item[0]

    async with aclosing(items(entering)) as steps:
        await anext(steps)
        async with aclosing(each()) as yielded:
            yield yielded


@asynccontextmanager
async def opened[R](opening: Callable[[], AbstractAsyncContextManager[R]]) -> AsyncGenerator[Portal[R]]:
    """Run a store in its own thread during the block. Leaving the block waits for calls, and ends iterations.

    Raises:
        WrongEventLoop: no asyncio loop runs.
        Exception: the errors of `opening`.
    """
    must_be_asyncio()
    portal = Portal(opening)
    running = portal.start()
    try:
        await asyncio.wrap_future(running)
        yield portal
    finally:
        try:
            await uncancelled(portal.stop())
        finally:
            portal.join()
