"""Calls from threads without an event loop to a store in its own thread: answers, iterations and blocks."""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from typing import Any

from artifactstore.host_loop import check_may_block
from artifactstore.portal import Call, Iteration, Portal

__all__ = ["ask", "entered", "items", "opened"]


def ask[T](portal: Portal[Any], begin: Callable[[], Call[T]]) -> T:
    """Wait for an answer. An interrupt withdraws the call, and is raised when no part of the call is running."""
    if not portal.in_own_thread:  # there, `submit` raises a more specific error
        check_may_block()
    call = begin()
    try:
        return call.answer.result()
    finally:
        call.answer.cancel()
        call.over.result()


def items[T](portal: Portal[Any], iteration: Iteration[T]) -> Generator[T]:
    """Yield the items of an iteration. Leaving it early closes it."""
    try:
        while True:
            try:
                yield ask(portal, iteration.step)
            except StopAsyncIteration:
                return
    finally:
        if (closing := iteration.close()) is not None:
            closing.over.result()


@contextmanager
def entered[T](portal: Portal[Any], entering: Iteration[tuple[T, ...]]) -> Generator[Iterator[T]]:
    """Enter a context manager in the store's thread, yield its items, and leave it with this block."""
    with closing(items(portal, entering)) as steps:
        next(steps)
        yield (item[0] for item in steps)


@contextmanager
def opened[R](opening: Callable[[], AbstractAsyncContextManager[R]]) -> Generator[Portal[R]]:
    """Run a store in its own thread during the block. Leaving the block waits for calls, and ends iterations.

    Raises:
        BlocksEventLoop: an event loop runs in this thread.
        Exception: the errors of `opening`.
    """
    check_may_block()
    portal = Portal(opening)
    running = portal.start()
    try:
        running.result()
        yield portal
    finally:
        try:
            portal.stop().result()
        finally:
            portal.join()
