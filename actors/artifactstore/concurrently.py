"""Concurrent work on many items with a limit. The first error is raised as it is, not in an exception group."""

from collections.abc import Awaitable, Callable, Iterable

import trio

__all__ = ["for_each_concurrent"]


async def for_each_concurrent[T](items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Call `work` for each item, up to `at_once` at a time, and return when all calls are done.

    Raises:
        Exception: the first exception that `work` raises. Running calls are cancelled, and no further call starts.
    """
    failures: list[Exception] = []
    limiter = trio.CapacityLimiter(at_once)

    async def attempt(token: object, item: T, all_of_them: trio.CancelScope) -> None:
        try:
            await work(item)
        except Exception as error:
            failures.append(error)
            all_of_them.cancel(reason="one of several failed")
        finally:
            limiter.release_on_behalf_of(token)

    async with trio.open_nursery() as nursery:
        for item in items:
            token = object()
            await limiter.acquire_on_behalf_of(token)
            nursery.start_soon(attempt, token, item, nursery.cancel_scope)
    if failures:
        raise failures[0]  # outside the nursery, which would wrap it in an exception group
