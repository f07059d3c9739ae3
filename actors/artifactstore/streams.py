"""Streams out of an actor: a child task of the actor hands items over, one at a time, to its consumer.

The task starts when the consumer asks for the first item, so a stream whose consumer was cancelled before it could
take it has nothing to clean up. The consumer decides the pace, closing ends the task, and an end that is not the
source's own end is an error: a stream that breaks off because its actor crashed or stopped never looks complete.

A defect in what fills one stream concerns its consumer, who is told as the asker of a crashed handler is; the task that
met it fails, which `start` is to have reported, and the actor continues for all the others.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Self

import trio

from artifactstore_protocols.supervision import ActorCrashed, ActorStopped, Refusal

__all__ = ["ChannelStream"]


class ChannelStream[T]:
    """One stream, as its consumer sees it; implements `messages.Stream`.

    Args:
        actor: path of the actor whose task fills it, and
        what: it fills it with, for the error that says that the stream broke off.
        source: makes what is sent, in the actor's task.
        start: runs a function as a child task of the actor.
    """

    def __init__(
        self,
        actor: str,
        what: str,
        *,
        source: Callable[[], AsyncGenerator[T]],
        start: Callable[[Callable[[], Awaitable[None]]], object],
    ) -> None:
        self._actor, self._what = actor, what
        self._source, self._start = source, start
        self._started = False
        self._send, self._receive = trio.open_memory_channel[T](0)  # what waits is the source's affair
        self._scope = trio.CancelScope()
        self._complete = False
        self._failure: Refusal | None = None

    async def _fill(self) -> None:
        with self._send, self._scope:
            try:
                async with aclosing(self._source()) as items:
                    async for item in items:
                        await self._send.send(item)
            except trio.BrokenResourceError:
                return
            except Refusal as refusal:
                self._failure = refusal
            except Exception as error:
                self._failure = ActorCrashed(self._actor, self._what, may_have_taken_effect=False, cause=error)
                self._failure.__cause__ = error
                raise
            else:
                self._complete = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self._started:
            self._started = True
            try:
                self._start(self._fill)
            except RuntimeError:  # the incarnation that opened the stream is over, and its nursery closed
                raise self._broken_off() from None
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            ending = self._failure or (StopAsyncIteration() if self._complete else self._broken_off())
        raise ending

    def _broken_off(self) -> ActorStopped:
        return ActorStopped(self._actor, self._what, may_have_taken_effect=False)

    def close(self) -> None:
        """End the stream and the task that fills it."""
        self._started = True
        self._receive.close()
        self._scope.cancel()
