"""The last resort against a peer that holds the head of the log and will never let it go.

PostgreSQL ends a writer's transaction that waits for its client between two statements, and from 17 on one that takes
too long as a whole. What is left is a client that froze while it was sending, before 17, or while an answer was on its
way to it, which no timeout of the server interrupts. So whoever has waited for the head in vain looks for a holder that
is older than any honest transaction can be, and ends its session.
"""

import logging
from typing import Final

from sqlalchemy import text

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.engines import STATEMENT_TIMEOUT_S

__all__ = ["STUCK_AFTER_S", "end_stuck_writers"]

STUCK_AFTER_S: Final = 2 * STATEMENT_TIMEOUT_S
"""Age of a writer's transaction that cannot be honest: its client gives the work and the commit half of that each."""

# Those who wait for the head have the same lock on its table; they are younger, since they do not wait for long.
_END_THEM = text("""
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid()
    AND xact_start < clock_timestamp() - make_interval(secs => :stuck_after_s)
    AND pid IN (
        SELECT pid FROM pg_locks
        WHERE granted AND mode IN ('RowShareLock', 'RowExclusiveLock') AND relation = 'log_head'::regclass
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
""")

_logger = logging.getLogger("artifactstore.database")


async def end_stuck_writers(connection: AsyncConnection) -> None:
    """End the sessions, of this role, that have held the head for too long. On PostgreSQL."""
    ended = await connection.scalar(_END_THEM, {"stuck_after_s": float(STUCK_AFTER_S)})
    if ended:
        _logger.warning("ended %s session(s) that held the head of the log for more than %s s", ended, STUCK_AFTER_S)
