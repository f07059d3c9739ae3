"""Column types that check values read from SQLite, where a column can hold a value of any type.

PostgreSQL enforces column types. SQLite does not: a database edited by hand can hold text or NULL where a number
belongs. Readers report that as damage. With both databases, readers check that a calendar can show each time.
"""

from typing import Any, Protocol, override

from sqlalchemy import BigInteger, Dialect, LargeBinary, Text

__all__ = ["CheckedBigInteger", "CheckedBytes", "CheckedText", "DamagedCell", "time_in"]

_SHOWN_CHARACTERS = 60
_TIME_MAX_US = 62_135_596_800_000_000
"""The largest distance from 1970 in microseconds. Back from 1970 it reaches the year 1, where calendars begin."""


class DamagedCell(Exception):
    """A cell holds a value that artifactstore cannot have written. The message names the column and the value."""


class _Check[T](Protocol):
    """A function that returns a cell unchanged, or raises `DamagedCell`."""

    def __call__(self, value: Any) -> T | None:  # noqa: ANN401 - SQLAlchemy's signature
        ...


def time_in(column: str, value: int) -> int:
    """Return a time in microseconds unchanged if a calendar can show it.

    Raises:
        DamagedCell: the time is outside the range of calendars.
    """
    if abs(value) > _TIME_MAX_US:
        raise DamagedCell(f"column {column} holds {value}, which is no time in microseconds")
    return value


def _checked[T](column: str, kind: type[T], *, nullable: bool) -> _Check[T]:
    def check(value: Any) -> T | None:  # noqa: ANN401 - SQLAlchemy's signature
        if type(value) is kind or (value is None and nullable):
            return value
        raise DamagedCell(f"column {column} holds {repr(value)[:_SHOWN_CHARACTERS]}, which is not {kind.__name__}")

    return check


class CheckedText(Text):
    """A text column that rejects values of other types."""

    def __init__(self, column: str, *, nullable: bool = False) -> None:
        super().__init__()
        self.column = column
        self.nullable = nullable

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[str]:
        return _checked(self.column, str, nullable=self.nullable)


class CheckedBigInteger(BigInteger):
    """An integer column that rejects values of other types."""

    def __init__(self, column: str, *, nullable: bool = False) -> None:
        super().__init__()
        self.column = column
        self.nullable = nullable

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[int]:
        return _checked(self.column, int, nullable=self.nullable)


class CheckedBytes(LargeBinary):
    """A bytes column that rejects values of other types."""

    def __init__(self, column: str, *, nullable: bool = False) -> None:
        super().__init__()
        self.column = column
        self.nullable = nullable

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[bytes]:
        return _checked(self.column, bytes, nullable=self.nullable)
