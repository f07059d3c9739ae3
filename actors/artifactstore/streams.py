"""Streams out of an actor: a child task of the actor fills a bounded channel, its consumer empties it.

The consumer decides the pace, closing it ends the task, and an end that is not the source's own end is an error: a
stream that breaks off because its actor crashed or stopped never looks like one that was complete.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Self

import trio

from artifactstore_protocols.supervision import ActorStopped

__all__ = ["ChannelStream"]


class ChannelStream[T]:
    """The consumer's end and the task's end of one stream; implements `messages.Stream`.

    Args:
        actor: path of the actor whose task fills it, and
        what: it fills it with, for the error that says that the stream broke off.
        items_max: how many items may wait for the consumer.
    """

    def __init__(self, actor: str, what: str, *, items_max: int) -> None:
        self._actor, self._what = actor, what
        self._send, self._receive = trio.open_memory_channel[T](items_max)
        self._scope = trio.CancelScope()
        self._complete = False
        self._failure: Exception | None = None

    async def fill(self, source: Callable[[], AsyncGenerator[T]]) -> None:
        """Run in the actor's child task: send what `source` yields until it ends, fails or the consumer leaves."""
        with self._send, self._scope:
            try:
                async with aclosing(source()) as items:
                    async for item in items:
                        await self._send.send(item)
            except trio.BrokenResourceError:
                return
            except Exception as error:
                self._failure = error
            else:
                self._complete = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._failure is not None:
                raise self._failure from None
            if self._complete:
                raise StopAsyncIteration from None
            raise ActorStopped(self._actor, self._what, may_have_taken_effect=False) from None

    def close(self) -> None:
        """End the stream and the task that fills it."""
        self._receive.close()
        self._scope.cancel()
