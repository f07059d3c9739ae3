"""Sessions with PostgreSQL: asyncpg's connections, and what every transaction of the store is told as it begins.

Nothing is set for a session: each BEGIN carries its settings, local to the transaction, in the same message. So they
cost no round trip, and they hold behind a pooler that gives every transaction another session. Whether one is there
shows by itself: the process that answers is not the one that the connection was given when it was made. Then no
statement is prepared by name, since the next transaction would look for it elsewhere.

Imported only where there is such a database: loading asyncpg takes its time.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, override

from artifactstore.database.schema import CHANNEL_PREFIX

if TYPE_CHECKING:
    # What is used of asyncpg, which comes without types.
    class PostgresError(Exception): ...

    class InFailedSQLTransactionError(PostgresError):
        severity_en: str

    class InterfaceError(Exception): ...

    class InternalClientError(Exception): ...

    class Connection:
        def __init__(self, protocol: object, transport: asyncio.Transport, *rest: object) -> None: ...
        async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...
        async def fetchval(self, query: str) -> object: ...
        async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...
        def add_termination_listener(self, callback: Callable[..., None]) -> None: ...
        def get_server_pid(self) -> int: ...
        def get_server_version(self) -> tuple[int, ...]: ...
        def is_closed(self) -> bool: ...
        async def close(self, *, timeout: float | None = None) -> None: ...
        def terminate(self) -> None: ...

    async def connect[C: Connection](
        *, connection_class: type[C], statement_cache_size: int, **arguments: object
    ) -> C: ...
else:
    from asyncpg import (
        Connection,
        InFailedSQLTransactionError,
        InterfaceError,
        InternalClientError,
        PostgresError,
        connect,
    )

__all__ = ["DRIVER_ERRORS", "Session", "Sessions"]

DRIVER_ERRORS = (PostgresError, InterfaceError, InternalClientError, OSError)
"""What a session raises where SQLAlchemy does not stand in between."""

_CHANNEL = f"SELECT '{CHANNEL_PREFIX}' || 'log_head'::regclass::oid"
_STATEMENTS_CACHED = 100
_FAREWELL_S = 1.0
_WRITERS_ISOLATION = "READ COMMITTED"
_SILENT_S, _PROBE_EVERY_S, _PROBES = 30, 10, 3
_TRANSACTION_TIMEOUT_SINCE = 17


class Session(Connection):
    """One connection.

    Attributes:
        is_direct: whether one server process is at its other end for as long as it lasts, and not a pooler.
        on_begin: what each transaction is told, as statements.
        on_begin_writing: what a writer's is told besides.
    """

    __slots__ = ("is_direct", "on_begin", "on_begin_writing")

    def __init__(self, protocol: object, transport: asyncio.Transport, *rest: object) -> None:
        super().__init__(protocol, transport, *rest)
        self.is_direct = True
        self.on_begin = self.on_begin_writing = ""
        _notice_silence(transport.get_extra_info("socket"))

    @override
    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """As asyncpg's, which begins and ends its transactions with it.

        Raises:
            InFailedSQLTransactionError: a COMMIT undid its transaction, since a statement of it had failed; the server
                says so by its answer alone, and asyncpg does not look at that.
        """
        if query.startswith("BEGIN"):
            query += self.on_begin + (self.on_begin_writing if _WRITERS_ISOLATION in query else "")
        answer = await super().execute(query, *args, timeout=timeout)
        if answer == "ROLLBACK" and query.startswith("COMMIT"):
            undone = InFailedSQLTransactionError("the server answered COMMIT with ROLLBACK")
            undone.severity_en = "ERROR"  # what a server's own word for "undone, and nothing else is wrong" would be
            raise undone
        return answer

    @override
    async def close(self, *, timeout: float | None = None) -> None:
        """End it, with a farewell if the server still takes one: asyncpg would wait for it without an end."""
        with suppress(*DRIVER_ERRORS):
            await super().close(timeout=_FAREWELL_S if timeout is None else min(timeout, _FAREWELL_S))

    async def look_who_answers(self) -> None:
        """Find out whether it is direct, by the simple protocol, which every pooler carries."""
        answer = await self.execute(f"SELECT 1 WHERE pg_backend_pid() = {self.get_server_pid()}")
        self.is_direct = answer == "SELECT 1"

    async def listen(self, on_word: Callable[[], None]) -> asyncio.Event:
        """Hear of every commit that moves the head. What is returned is set when the connection ends."""
        ended = asyncio.Event()
        self.add_termination_listener(lambda *_: ended.set())
        channel = str(await self.fetchval(_CHANNEL))
        await self.add_listener(channel, lambda *_: on_word())
        return ended


class Sessions:
    """Makes sessions that are set up alike.

    Args:
        transaction: settings of each transaction, by name.
        transaction_timeout_s: how long a writer's may take as a whole, where the server can end it (from 17 on).
    """

    def __init__(self, transaction: Mapping[str, str], *, transaction_timeout_s: float) -> None:
        self._on_begin = _set_local(transaction)
        self._on_begin_writing = _set_local({"transaction_timeout": f"{transaction_timeout_s * 1000:.0f}ms"})
        self._by_name = True

    async def connect(self, **arguments: object) -> Session:
        """A new session; arguments are those of `asyncpg.connect`."""
        session = await self._connect(arguments)
        if self._by_name and not session.is_direct:
            self._by_name = False
            await session.close()
            session = await self._connect(arguments)
        return session

    async def _connect(self, arguments: Mapping[str, object]) -> Session:
        cached = _STATEMENTS_CACHED if self._by_name else 0
        session = await connect(connection_class=Session, statement_cache_size=cached, **arguments)
        try:
            await session.look_who_answers()
        except BaseException:
            session.terminate()
            raise
        session.on_begin = self._on_begin
        if session.get_server_version() >= (_TRANSACTION_TIMEOUT_SINCE,):
            session.on_begin_writing = self._on_begin_writing
        return session


def _set_local(settings: Mapping[str, str]) -> str:
    return "".join(f"SET LOCAL {name} = '{value}';" for name, value in settings.items())


def _notice_silence(connected: socket.socket) -> None:
    """Have the kernel end a connection to a machine that is gone: it would be waited for without an end."""
    if connected.family is socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, _SILENT_S),
        (socket.TCP_KEEPINTVL, _PROBE_EVERY_S),
        (socket.TCP_KEEPCNT, _PROBES),
        (socket.TCP_USER_TIMEOUT, (_SILENT_S + _PROBE_EVERY_S * _PROBES) * 1000),
    ):
        connected.setsockopt(socket.IPPROTO_TCP, option, value)
