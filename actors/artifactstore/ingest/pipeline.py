"""A pipeline of two stages: it prepares items concurrently, and finishes them one at a time in order."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator

import outcome
import trio

__all__ = ["in_order"]


async def in_order[T, P](
    items: Iterator[T],
    prepare: Callable[[T], Awaitable[P]],
    finish: Callable[[T, P], Awaitable[None]],
    *,
    in_flight: int,
) -> None:
    """Prepare items concurrently, and finish them one at a time in order.

    Args:
        items: read one at a time, when fewer than `in_flight` items are begun.
        prepare: the first stage. Each item has its own task.
        finish: the second stage. It runs in the caller's task, for one item at a time.
        in_flight: maximum number of items that are begun and not finished. It counts the item that `finish` handles.

    Raises:
        Exception: the error of the first item that fails. Earlier items are finished. The preparation of later items is
            cancelled, and `items` is not read any further.
    """
    prepared: deque[trio.MemoryReceiveChannel[outcome.Outcome[P]]] = deque()
    begun: deque[T] = deque()

    async def attempt(item: T, answer: trio.MemorySendChannel[outcome.Outcome[P]]) -> None:
        try:
            found: outcome.Outcome[P] = outcome.Value(await prepare(item))
        except Exception as error:  # raised when it is the item's turn to be finished
            found = outcome.Error(error)
        answer.send_nowait(found)

    async def run(nursery: trio.Nursery) -> None:
        while True:
            while len(begun) < in_flight and (item := next(items, None)) is not None:
                answer, taken = trio.open_memory_channel[outcome.Outcome[P]](1)
                begun.append(item)
                prepared.append(taken)
                nursery.start_soon(attempt, item, answer)
            if not begun:
                return
            found = (await prepared[0].receive()).unwrap()
            await finish(begun[0], found)
            begun.popleft()
            prepared.popleft()

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            await run(nursery)
        except Exception as error:  # the nursery would wrap it in a group
            failure = error
            nursery.cancel_scope.cancel(reason="a batch failed")
    if failure is not None:
        raise failure
