"""PostgreSQL sessions: asyncpg connections that set the store's settings at the start of each transaction.

No setting belongs to a session. Each BEGIN carries `SET LOCAL` statements in the same message. They cost no round trip
and also work behind a pooler that gives each transaction another session. A pooler is detected when the answering
server process is not the one that the connection reported when it was made. Behind a pooler no statement is prepared by
name, since the next transaction may run in a session without it.

Import this module only for a PostgreSQL database, because loading asyncpg is slow.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, override

from artifactstore.database.schema import CHANNEL_PREFIX

if TYPE_CHECKING:
    # The part of asyncpg that this module uses; asyncpg has no types.
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
"""The errors that a session raises when it is called directly, not through SQLAlchemy."""

_CHANNEL = f"SELECT '{CHANNEL_PREFIX}' || 'log_head'::regclass::oid"
_STATEMENTS_CACHED = 100
_FAREWELL_S = 1.0
_WRITERS_ISOLATION = "READ COMMITTED"
_SILENT_S, _PROBE_EVERY_S, _PROBES = 30, 10, 3
_TRANSACTION_TIMEOUT_SINCE = 17


class Session(Connection):
    """One connection to PostgreSQL.

    Attributes:
        is_direct: whether the connection ends at one server process, not at a pooler.
        on_begin: SQL statements that follow each BEGIN.
        on_begin_writing: further statements that follow the BEGIN of a writer.
    """

    __slots__ = ("is_direct", "on_begin", "on_begin_writing")

    def __init__(self, protocol: object, transport: asyncio.Transport, *rest: object) -> None:
        super().__init__(protocol, transport, *rest)
        self.is_direct = True
        self.on_begin = self.on_begin_writing = ""
        _notice_silence(transport.get_extra_info("socket"))

    @override
    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Execute statements like asyncpg, which also begins and ends its transactions through this method.

        Raises:
            InFailedSQLTransactionError: a COMMIT rolled its transaction back, because an earlier statement had failed.
                The server reports that only in the command tag of its answer, which asyncpg does not check.
        """
        if query.startswith("BEGIN"):
            query += self.on_begin + (self.on_begin_writing if _WRITERS_ISOLATION in query else "")
        answer = await super().execute(query, *args, timeout=timeout)
        if answer == "ROLLBACK" and query.startswith("COMMIT"):
            undone = InFailedSQLTransactionError("the server answered COMMIT with ROLLBACK")
            undone.severity_en = "ERROR"  # the severity of a server error that rolled back and left the session usable
            raise undone
        return answer

    @override
    async def close(self, *, timeout: float | None = None) -> None:
        """Close the connection, and wait at most 1 s for the server; asyncpg alone would wait without a limit."""
        with suppress(*DRIVER_ERRORS):
            await super().close(timeout=_FAREWELL_S if timeout is None else min(timeout, _FAREWELL_S))

    async def detect_pooler(self) -> None:
        """Set `is_direct`. The query uses the simple protocol, which every pooler supports."""
        answer = await self.execute(f"SELECT 1 WHERE pg_backend_pid() = {self.get_server_pid()}")
        self.is_direct = answer == "SELECT 1"

    async def listen(self, on_commit: Callable[[], None]) -> asyncio.Event:
        """Call `on_commit` on each commit that moves the head; return an event that is set when the connection ends."""
        ended = asyncio.Event()
        self.add_termination_listener(lambda *_: ended.set())
        channel = str(await self.fetchval(_CHANNEL))
        await self.add_listener(channel, lambda *_: on_commit())
        return ended


class Sessions:
    """A factory of sessions with the same settings.

    Args:
        transaction: settings of each transaction, by name.
        transaction_timeout_s: limit of a whole writing transaction; only PostgreSQL 17 and later enforce it.
    """

    def __init__(self, transaction: Mapping[str, str], *, transaction_timeout_s: float) -> None:
        self._on_begin = _set_local(transaction)
        self._on_begin_writing = _set_local({"transaction_timeout": f"{transaction_timeout_s * 1000:.0f}ms"})
        self._by_name = True

    async def connect(self, **arguments: object) -> Session:
        """Return a new session; the arguments are those of `asyncpg.connect`."""
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
            await session.detect_pooler()
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
    """Let the kernel end a TCP connection to a dead machine after about 60 s; otherwise a read waits forever."""
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
