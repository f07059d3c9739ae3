"""Where the log lives: a database URL as people write it, made into what the drivers need and what may be shown."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from artifactstore_protocols.errors import InvalidValue

__all__ = ["DatabaseLocation"]

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """A parsed database URL.

    Attributes:
        url: for SQLAlchemy's async engine; holds the password, so it is kept out of `repr`.
        name: what may be shown: the file's path, or host and database, never a password.
        path: the SQLite file, absolute; None for PostgreSQL.
    """

    url: URL = field(repr=False)
    name: str
    path: Path | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sqlite:///file` or `postgresql://user:password@host/database`.

        Raises:
            InvalidValue: another kind of URL, or SQLite in memory, which no second connection could read. The
                message never repeats the URL, since it may hold a password.
        """
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise InvalidValue("database URL", "…", "write sqlite:///FILE or postgresql://USER@HOST/NAME") from None
        driver = _DRIVERS.get(url.drivername)
        if driver is None:
            raise InvalidValue("database URL", url.drivername, "use sqlite:///FILE or postgresql://USER@HOST/NAME")
        url = url.set(drivername=driver)
        if not driver.startswith("sqlite"):
            port = "" if url.port is None else f":{url.port}"
            return cls(url, f"{url.host or 'local'}{port}/{url.database or ''}", None)
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise InvalidValue(
                "database URL", "sqlite in memory", "name a file, such as sqlite:///var/artifactstore.db"
            )
        path = Path(url.database).absolute()
        return cls(url.set(database=str(path)), str(path), path)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a SQLite file; otherwise it is PostgreSQL."""
        return self.path is not None
