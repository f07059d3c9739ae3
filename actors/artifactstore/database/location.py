"""The database URL, parsed into a URL for the drivers and a name without a password for messages."""

import re
from pathlib import Path
from typing import Self, override

from msgspec import Struct
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from artifactstore.places import absolute, check_text, is_sqlite_url, sqlite_file
from artifactstore_protocols.errors import InvalidValue

__all__ = ["DatabaseLocation"]

_SQLITE = "sqlite+aiosqlite"
_POSTGRESQL = "postgresql+asyncpg"
_POSTGRESQL_NAMES = frozenset({"postgresql", "postgres", _POSTGRESQL})
_POSTGRESQL_OPTIONS = frozenset({"host", "port", "ssl"})
_PORT_MAX = 65535


class DatabaseLocation(Struct, frozen=True):
    """A parsed database URL.

    Attributes:
        url: the URL for the SQLAlchemy engine. It may hold a password, so `repr` leaves it out.
        name: the name for messages: the path of the file, or host and database; never a password.
        path: the absolute path of the SQLite file; None for PostgreSQL.
    """

    url: URL
    name: str
    path: Path | None

    @override
    def __repr__(self) -> str:
        return f"DatabaseLocation({self.name!r})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `sqlite:///file` or `postgresql://user:password@host/database`.

        Raises:
            InvalidValue: the URL is invalid or of another kind, or it names a SQLite database in memory, which a
                second connection cannot read. The message never repeats the URL, since it may hold a password.
        """
        if is_sqlite_url(text):
            path = absolute("database URL", sqlite_file("database URL", text))
            return cls(URL.create(_SQLITE, database=str(path)), str(path), path)
        check_text("database URL", text, secret=True)
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise InvalidValue("database URL", "…", "write sqlite:///FILE or postgresql://USER@HOST/NAME") from None
        if url.drivername not in _POSTGRESQL_NAMES:
            raise InvalidValue("database URL", url.drivername, "use sqlite:///FILE or postgresql://USER@HOST/NAME")
        return cls._postgresql(url, text)

    @classmethod
    def _postgresql(cls, url: URL, text: str) -> Self:
        # One @ ends the user and the password. A second @ may be part of an unquoted password. The rest of that
        # password would then be parsed as the host, the database or an option, and would appear in messages.
        if text.count("@") > (url.username is not None):
            raise InvalidValue("database URL", "postgresql", "write an @ in a user, a password or an option as %40")
        for option in filter(None, text.rpartition("@")[2].partition("?")[2].split("&")):
            if "=" not in option:
                raise InvalidValue("database URL", "postgresql", "write an option as KEY=VALUE, and a ? as %3F")
        if not url.database:
            raise InvalidValue("database URL", "postgresql", "name the database: postgresql://USER@HOST/NAME")
        # psql calls this option `sslmode`, and the driver calls it `ssl`.
        query = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
        for key in sorted(query.keys() - _POSTGRESQL_OPTIONS):
            raise InvalidValue(
                "database URL", key, f"the options it takes are {', '.join(sorted(_POSTGRESQL_OPTIONS))}"
            )
        for given in (url.port, *(value for key, value in query.items() if key == "port")):
            if given is not None and not _is_port(str(given)):
                raise InvalidValue("database URL", "postgresql", f"a port is a number from 1 to {_PORT_MAX}")
        port = "" if url.port is None else f":{url.port}"
        name = f"{url.host or 'local'}{port}/{url.database}"
        return cls(url.set(drivername=_POSTGRESQL, query=query), name, None)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file; otherwise it is PostgreSQL."""
        return self.path is not None


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= _PORT_MAX
