"""The last resort against another process that never releases the head of the log.

PostgreSQL ends a transaction that waits for its client between two statements. From version 17 on it also ends a
transaction that takes too long as a whole. No server timeout covers two other cases: before version 17, a client that
froze while it was sending; in any version, a client that froze while the server was sending an answer to it. So a
writer that timed out on the head ends the sessions of holders that are older than any valid transaction can be. It
leaves those alone whose work grows with the log: their transactions bear a name that says so.
"""

import logging
from typing import Final

from sqlalchemy import text

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.engines import STATEMENT_TIMEOUT_S

__all__ = ["STUCK_AFTER_S", "end_stuck_writers", "lift_time_limit"]

STUCK_AFTER_S: Final = 2 * STATEMENT_TIMEOUT_S
"""The age at which a writer's transaction must be stuck: a client allows half of it for work, and half for commit."""

_UNLIMITED: Final = "artifactstore, without a time limit"
_TRANSACTION_TIMEOUT_SINCE: Final = 17

# Sessions that wait for the head hold the same table lock. The age excludes them: they do not wait that long.
_END_THEM = text("""
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid() AND application_name <> :unlimited
    AND xact_start < clock_timestamp() - make_interval(secs => :stuck_after_s)
    AND pid IN (
        SELECT pid FROM pg_locks
        WHERE granted AND mode IN ('RowShareLock', 'RowExclusiveLock') AND relation = 'log_head'::regclass
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
""")

_logger = logging.getLogger("artifactstore.database")


async def end_stuck_writers(connection: AsyncConnection) -> None:
    """End the PostgreSQL sessions of the current role that have held the head for more than `STUCK_AFTER_S`."""
    ended = await connection.scalar(_END_THEM, {"stuck_after_s": float(STUCK_AFTER_S), "unlimited": _UNLIMITED})
    if ended:
        _logger.warning("ended %s session(s) that held the head of the log for more than %s s", ended, STUCK_AFTER_S)


async def lift_time_limit(connection: AsyncConnection) -> None:
    """Let a writer's transaction take any time: neither the server nor another writer ends it.

    Each statement keeps its limit. The settings end with the transaction.
    """
    if connection.dialect.name == "sqlite":
        return
    await connection.execute(text(f"SET LOCAL application_name = '{_UNLIMITED}'"))
    if (connection.dialect.server_version_info or ()) >= (_TRANSACTION_TIMEOUT_SINCE,):
        await connection.execute(text("SET LOCAL transaction_timeout = 0"))
