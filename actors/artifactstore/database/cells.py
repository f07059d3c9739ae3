"""Cells as they come out of SQLite, where a column takes values of any type, and a reader must not trip over one.

PostgreSQL holds a column to its type. In SQLite, whoever changes a database by hand can put text or nothing
where a number belongs; that is told as damage, wherever it is read. Times are held to what can be shown on either.
"""

from typing import Any, Protocol, override

from sqlalchemy import BigInteger, Dialect, LargeBinary, Text

__all__ = ["CheckedBigInteger", "CheckedBytes", "CheckedText", "DamagedCell", "time_in"]

_SHOWN_CHARACTERS = 60
_TIME_MAX_US = 62_135_596_800_000_000
"""From here back to the year 1, where calendars begin; and as far ahead."""


class DamagedCell(Exception):
    """A cell that holds what nothing of ours has written; the message says which, and what."""


class _Check[T](Protocol):
    """What a cell goes through on its way out."""

    def __call__(self, value: Any) -> T | None:  # noqa: ANN401 - as SQLAlchemy has it
        ...


def time_in(column: str, value: int) -> int:
    """Return a time unchanged if a calendar has it.

    Raises:
        DamagedCell: no clock has ever shown it.
    """
    if abs(value) > _TIME_MAX_US:
        raise DamagedCell(f"column {column} holds {value}, which is no time in microseconds")
    return value


def _checked[T](column: str, kind: type[T], *, nullable: bool) -> _Check[T]:
    def check(value: Any) -> T | None:  # noqa: ANN401 - as SQLAlchemy has it
        if type(value) is kind or (value is None and nullable):
            return value
        raise DamagedCell(f"column {column} holds {repr(value)[:_SHOWN_CHARACTERS]}, which is not {kind.__name__}")

    return check


class CheckedText(Text):
    """Text, and nothing else."""

    def __init__(self, column: str, *, nullable: bool = False) -> None:
        super().__init__()
        self.column = column
        self.nullable = nullable

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[str]:
        return _checked(self.column, str, nullable=self.nullable)


class CheckedBigInteger(BigInteger):
    """An integer, and nothing else."""

    def __init__(self, column: str, *, nullable: bool = False) -> None:
        super().__init__()
        self.column = column
        self.nullable = nullable

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[int]:
        return _checked(self.column, int, nullable=self.nullable)


class CheckedBytes(LargeBinary):
    """Bytes, and nothing else."""

    def __init__(self, column: str, *, nullable: bool = False) -> None:
        super().__init__()
        self.column = column
        self.nullable = nullable

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[bytes]:
        return _checked(self.column, bytes, nullable=self.nullable)
