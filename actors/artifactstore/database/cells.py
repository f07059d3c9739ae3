"""Cells as they come out of SQLite, where a column takes values of any type, and a reader must not trip over one.

PostgreSQL holds a column to its type. In SQLite, whoever changes a database by hand can put text where a number
belongs; that is told as damage, wherever it is read.
"""

from typing import Any, Protocol, override

from sqlalchemy import BigInteger, Dialect, LargeBinary, Text

__all__ = ["CheckedBigInteger", "CheckedBytes", "CheckedText", "DamagedCell"]

_SHOWN_CHARACTERS = 60


class DamagedCell(Exception):
    """A cell that holds what nothing of ours has written; the message says which, and what."""


class _Check[T](Protocol):
    """What a cell goes through on its way out."""

    def __call__(self, value: Any) -> T | None:  # noqa: ANN401 - as SQLAlchemy has it
        ...


def _checked[T](column: str, kind: type[T]) -> _Check[T]:
    def check(value: Any) -> T | None:  # noqa: ANN401 - as SQLAlchemy has it
        if value is None or type(value) is kind:
            return value
        raise DamagedCell(f"column {column} holds {repr(value)[:_SHOWN_CHARACTERS]}, which is not {kind.__name__}")

    return check


class CheckedText(Text):
    """Text, and nothing else."""

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[str]:
        return _checked(self.column, str)


class CheckedBigInteger(BigInteger):
    """An integer, and nothing else."""

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[int]:
        return _checked(self.column, int)


class CheckedBytes(LargeBinary):
    """Bytes, and nothing else."""

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> _Check[bytes]:
        return _checked(self.column, bytes)
