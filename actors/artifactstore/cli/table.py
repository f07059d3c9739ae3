"""Tables for people: one record a line. On a terminal no line is longer than the terminal is wide.

Output that is no terminal, such as a pipe, gets the whole text of each cell. On a terminal, cells that are too long are
cut, and the text of the last column is wrapped, so it is always whole. If a terminal is narrow, its columns are narrow
too, and an id is shown by its last characters, which name the package as well.
"""

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

from artifactstore.cli.output import printable

__all__ = ["ID", "Column", "Table", "terminal_width"]

_GAP: Final = "  "
_LAST_WIDTH_MIN: Final = 16
_INDENT: Final = "    "
_CUT: Final = "…"


class Column(NamedTuple):
    """A column of a table. The last column of a table has no width.

    Attributes:
        title: the title.
        width: the number of terminal cells that its text has room for.
        narrow: the number of cells in a narrow terminal.
        right: whether the text stands at the right.
        by_end: whether a cut text keeps its end.
    """

    title: str
    width: int = 0
    narrow: int = 0
    right: bool = False
    by_end: bool = False


ID: Final = Column("PACKAGE", 36, 8, by_end=True)


class Table:
    """The form of a table.

    Args:
        columns: its columns.
        width: the width of the terminal in cells; None if the output is no terminal.
    """

    def __init__(self, columns: Sequence[Column], width: int | None) -> None:
        *self._columns, self._last = columns
        self._width = width
        self._widths = [column.width for column in self._columns]
        if width is not None and self._start + _LAST_WIDTH_MIN > width:
            self._widths = [column.narrow for column in self._columns]

    @property
    def _start(self) -> int:
        """Where the last column begins."""
        return sum(self._widths) + len(_GAP) * len(self._widths)

    def header(self) -> list[str]:
        """Return the lines with the titles."""
        return self.lines(*(column.title for column in (*self._columns, self._last)))

    def lines(self, *texts: str) -> list[str]:
        """Return the lines of a record: usually one; more if the text of the last column is wrapped."""
        *cells, last = map(printable, texts)
        if self._width is None:
            return [_GAP.join([*map(_padded, cells, self._widths, self._columns), last])]
        cut = map(_cut, cells, self._widths, self._columns)
        line = _GAP.join([*map(_padded, cut, self._widths, self._columns), ""])
        if (room := self._width - self._start) >= min(_LAST_WIDTH_MIN, _cells(last)):
            first, *others = _wrapped(last, room)
            return [(line + first).rstrip(), *(" " * self._start + other for other in others)]
        below = _wrapped(last, max(self._width - len(_INDENT), 1))
        return [_beginning(line, self._width).rstrip(), *(_INDENT + each for each in below)]


def terminal_width() -> int | None:
    """Return the width of the terminal that shows stdout; None if stdout is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _cells(text: str) -> int:
    """Return how many cells a terminal needs for a text."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _padded(text: str, width: int, column: Column) -> str:
    space = " " * (width - _cells(text))
    return space + text if column.right else text + space


def _cut(text: str, width: int, column: Column) -> str:
    if _cells(text) <= width:
        return text
    if column.by_end:
        return text[-width:]
    return _beginning(text, width - 1) + _CUT


def _beginning(text: str, width: int) -> str:
    """Return as much of the beginning of a text as fits, but at least one character."""
    taken = 0
    for at, character in enumerate(text):
        taken += _cells_of(character)
        if taken > width:
            return text[: max(at, 1)]
    return text


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines that fit, divided after a space unless that leaves most of a line empty."""
    lines: list[str] = []
    while _cells(text) > width:
        line = _beginning(text, width)
        if 3 * (at := line.rfind(" ") + 1) > len(line):
            line = line[:at]
        lines.append(line.rstrip())
        text = text[len(line) :]
    return [*lines, text]
