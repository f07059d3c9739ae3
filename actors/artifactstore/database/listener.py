"""Word of commits from PostgreSQL: one connection that listens, for as long as somebody wants to know.

Every commit that moves the head notifies a channel named after the head's own table, so stores that share a database
do not wake each other. Word is a hint and never the truth: whoever gets it reads the log. So a notification that is
lost with its connection costs a moment, until the next look, and nothing else; and the listener only has to come back.
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
    """Belongs to one asyncio loop; connects at the first question, and again whenever its connection ends.

    Args:
        connect: makes its connection.
    """

    def __init__(self, connect: Callable[[], Awaitable[Session]]) -> None:
        self._connect = connect
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._listening = False

    def news(self) -> asyncio.Event:
        """What the next word sets. Take it, look at the log, then wait for it: so nothing falls in between."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._stay())
        return self._news

    @property
    def patience_s(self) -> float:
        """How long to wait for word before looking without: seconds while it listens, a moment while it cannot."""
        return _LISTENING_S if self._listening else _DEAF_S

    async def close(self) -> None:
        """Stop listening."""
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
            with suppress(*DRIVER_ERRORS):  # whoever asks the database for anything else is told what is wrong with it
                await self._listen()
            attempt = 0 if loop.time() - began >= _AGAIN.healthy_after_s else attempt + 1
            await asyncio.sleep(_AGAIN.delay_s(attempt, random.random()))  # noqa: S311 - jitter, not secrecy

    async def _listen(self) -> None:
        """Until the connection ends."""
        session = await self._connect()
        try:
            if not session.is_direct:
                # What a pooler lends for one statement would continue listening in the hands of somebody else.
                session.terminate()
                await asyncio.Event().wait()
            ended = await session.listen(self._tell)
            self._listening = True
            self._tell()  # of all that was said before
            await ended.wait()
        finally:
            self._listening = False
            session.terminate()  # it holds nothing, and a farewell could hang
