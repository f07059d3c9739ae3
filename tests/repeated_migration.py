"""Set-up of empty databases without Alembic, which takes most of the time of a test that needs a store.

The first set-up in a process runs Alembic and records the statements that it sends. Later ones send them again.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import Connection, column, event, inspect, table, update

from artifactstore.database import migrate

__all__ = ["repeated_migration"]

type _Sent = list[tuple[str, Any]]

_RUN = "_run_alembic"
_head = table("log_head", column("store_id"))


@contextmanager
def repeated_migration() -> Generator[None]:
    """Record the first set-up of each kind of database, and repeat it for others, until the block ends."""
    run_alembic = cast("Callable[[Connection, str, str], None]", vars(migrate)[_RUN])
    recorded: dict[tuple[str, Path], _Sent] = {}

    def run(connection: Connection, target: str, name: str) -> None:
        kind = (connection.dialect.name, migrate.migrations_directory())
        if target != "head" or inspect(connection).has_table("alembic_version"):
            run_alembic(connection, target, name)
        elif kind in recorded:
            for statement, parameters in recorded[kind]:
                connection.exec_driver_sql(statement, parameters or None)
            # Alembic has made an id for the first store, and two stores of one id are one.
            connection.execute(update(_head).values(store_id=str(uuid4())))
        else:
            sent: _Sent = []
            with _recording(connection, sent):
                run_alembic(connection, target, name)
            recorded[kind] = sent

    setattr(migrate, _RUN, run)
    try:
        yield
    finally:
        setattr(migrate, _RUN, run_alembic)


@contextmanager
def _recording(connection: Connection, sent: _Sent) -> Generator[None]:
    """Append the statements of a connection that change something to `sent`."""

    def record(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if statement.lstrip().startswith(("CREATE", "INSERT", "ALTER")):
            sent.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", record)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", record)
