"""Streams from an actor: a child task of the actor sends items, one at a time, to one consumer.

The task starts when the consumer requests the first item. So a stream whose consumer was cancelled before it received
the stream has nothing to clean up. The consumer sets the pace, and closing the stream ends the task. A stream that ends
because its actor crashed or stopped raises an error, so it never looks complete.

If the source of a stream fails, its consumer gets `ActorCrashed`, as the caller of a crashed handler does. The task
fails too. `start` must make that failure a report only, so that the actor continues for all other streams.
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
        actor: path of the actor whose task fills the stream, for error messages.
        what: name of the stream's content, for error messages.
        source: returns the generator of items. It runs in the actor's task.
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
        self._send, self._receive = trio.open_memory_channel[T](0)  # buffering is up to the source
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
            except RuntimeError:  # the incarnation that opened the stream has ended, so its nursery is closed
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
