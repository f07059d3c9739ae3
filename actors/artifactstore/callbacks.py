"""The caller's own code, run outside the actors: streams that a call reads, and progress callbacks.

An exception in such code withdraws the call, and is raised unchanged where the caller waits. No actor crashes. When the
call is over, however it ended, its stream is no longer in use, and a stream that is a generator is closed.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Buffer, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from contextvars import copy_context
from typing import cast

import outcome
import trio

from artifactstore_protocols.errors import InvalidValue

__all__ = ["thread_safe_callback", "with_progress", "with_stream"]


async def with_stream[R](source: AsyncIterable[bytes], use: Callable[[AsyncIterator[bytes]], Awaitable[R]]) -> R:
    """Call `use` with a stream that another task may read, while a child task of the caller reads `source`.

    Raises:
        InvalidValue: a chunk of `source` is not bytes.
        Exception: `source` or `use` raised it. If `source` fails, the stream does not end; `use` is cancelled.
    """
    send, receive = trio.open_memory_channel[bytes](0)
    failure: Exception | None = None

    async def feed(scope: trio.CancelScope) -> None:
        nonlocal failure
        try:
            async for chunk in source:
                # The source may reuse a buffer as soon as the next chunk is requested.
                await send.send(chunk if type(chunk) is bytes else _copied(chunk))
        except Exception as error:
            failure = error
            scope.cancel(reason="the caller's stream failed")
        else:
            send.close()  # only here: a stream that failed must not look complete

    async with AsyncExitStack() as stack:
        if isinstance(source, AsyncGenerator):
            await stack.enter_async_context(aclosing(cast("AsyncGenerator[bytes]", source)))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(feed, nursery.cancel_scope)
        result = await outcome.acapture(use, receive)  # captured, so that the nursery wraps no error in a group
        nursery.cancel_scope.cancel(reason="the stream is not wanted any more")
    if failure is not None:
        raise failure
    return result.unwrap()


def _copied(chunk: object) -> bytes:
    if not isinstance(chunk, Buffer):
        raise InvalidValue("chunk of the stream", type(chunk).__name__, "give bytes; encode text before")
    return bytes(memoryview(chunk))


async def with_progress[P, R](
    progress: Callable[[P], None] | None, use: Callable[[Callable[[P], None] | None], Awaitable[R]]
) -> R:
    """Call `use` with a callback for actors: it never raises, and withdraws the call if `progress` raises.

    Raises:
        Exception: `progress` or `use` raised it.
    """
    if progress is None:
        return await use(None)
    context = copy_context()
    failures: list[Exception] = []
    with trio.CancelScope() as scope:

        def tell(counts: P) -> None:
            if failures:
                return
            try:
                # In the caller's context, so that tasks that `progress` starts do not count as the actor's work.
                context.run(progress, counts)
            except Exception as error:
                failures.append(error)
                scope.cancel(reason="the caller's callback failed")

        result = await use(tell)
        if not failures:
            return result
    raise failures[0]


def thread_safe_callback[P](tell: Callable[[P], None]) -> Callable[[P], None]:
    """Return a callback for any thread, which schedules `tell` in the event loop of this task, in call order."""
    token = trio.lowlevel.current_trio_token()

    def pass_on(counts: P) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(tell, counts)

    return pass_on
