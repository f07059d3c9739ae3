"""Conditions for globs in SQL. They hold for all texts that a glob matches, and maybe for others."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, false, or_

from artifactstore_protocols.globs import beginning_of, end_of_texts, is_literal, like_pattern

__all__ = ["glob_condition", "within_condition"]


def glob_condition(column: ColumnElement[str], glob: str) -> ColumnElement[bool]:
    """Return a condition that every text meets which the glob matches, and which an index on the column serves."""
    if is_literal(glob):
        return column == glob
    conditions: list[ColumnElement[bool]] = [column.like(like_pattern(glob), escape="\\")]
    start = beginning_of(glob)
    if start:
        conditions.append(column >= start)
    if (end := end_of_texts(start)) is not None:
        conditions.append(column < end)
    return and_(*conditions)


def within_condition(column: ColumnElement[str], globs: Sequence[str]) -> ColumnElement[bool]:
    """Return a condition that every text meets which one of the globs matches."""
    return or_(false(), *(glob_condition(column, glob) for glob in globs))
