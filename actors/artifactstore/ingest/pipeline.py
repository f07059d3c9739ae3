"""Items through two stages: the next ones are prepared while one is finished, and they are finished in order."""

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
    """Prepare up to `in_flight` items at a time, the one that is being finished included, and finish them in order.

    Args:
        items: taken one by one, as room comes up.
        prepare: the first stage, in tasks of its own.
        finish: the second stage, in the caller's task, one item at a time.
        in_flight: how many items are begun and not finished.

    Raises:
        Exception: what a stage raises for the first item that fails. Items before it are finished; the preparation of
            those after it is cancelled, and `items` is not asked again.
    """
    prepared: deque[trio.MemoryReceiveChannel[outcome.Outcome[P]]] = deque()
    begun: deque[T] = deque()

    async def attempt(item: T, answer: trio.MemorySendChannel[outcome.Outcome[P]]) -> None:
        try:
            found: outcome.Outcome[P] = outcome.Value(await prepare(item))
        except Exception as error:  # it is raised when its turn comes
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
        except Exception as error:  # out of the nursery it would come in a group
            failure = error
            nursery.cancel_scope.cancel(reason="a batch failed")
    if failure is not None:
        raise failure
