"""The listener for PostgreSQL notifications of commits, which uses one connection.

Every commit that moves the head notifies a channel named after the table `log_head`, so that stores in one database do
not wake each other. A notification is only a hint, and its receiver reads the log. A lost notification therefore costs
only the time until the next read, and after a lost connection the listener only reconnects.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from artifactstore.database.sessions import DRIVER_ERRORS, Session
from artifactstore_protocols.supervision import Backoff

__all__ = ["Listener"]

_LISTENING_S = 5.0
_DEAF_S = 0.25
_AGAIN = Backoff(initial_s=0.1, maximum_s=5.0, jitter=0.5, healthy_after_s=30.0)


class Listener:
    """A listener in one asyncio event loop. It connects at the first call of `news`, and reconnects when disconnected.

    Args:
        connect: opens a connection.
    """

    def __init__(self, connect: Callable[[], Awaitable[Session]]) -> None:
        self._connect = connect
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._listening = False

    def news(self) -> asyncio.Event:
        """Return the event that the next notification sets.

        To miss no commit, get this event first, then read the log, then wait for the event.
        """
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._stay())
        return self._news

    @property
    def patience_s(self) -> float:
        """How long to wait for a notification before the next read: 5 s while listening, otherwise 0.25 s."""
        return _LISTENING_S if self._listening else _DEAF_S

    async def close(self) -> None:
        """Stop listening and close the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _stay(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            began = loop.time()
            with suppress(*DRIVER_ERRORS):  # other uses of the database report its errors
                await self._listen()
            attempt = 0 if loop.time() - began >= _AGAIN.healthy_after_s else attempt + 1
            await asyncio.sleep(_AGAIN.delay_s(attempt, random.random()))  # noqa: S311 - jitter, not secrecy

    async def _listen(self) -> None:
        """Connect, and set the event at each notification until the connection ends."""
        session = await self._connect()
        try:
            if not session.is_direct:
                # LISTEN through a pooler would stay active in a session that the pooler then gives to another client.
                session.terminate()
                await asyncio.Event().wait()
            ended = await session.listen(self._tell)
            self._listening = True
            self._tell()  # for commits before the listener connected
            await ended.wait()
        finally:
            self._listening = False
            session.terminate()  # without an orderly close, which could hang; nothing is lost
