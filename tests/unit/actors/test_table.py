"""Tables fit into the terminal and lose nothing that matters; elsewhere they are whole."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.cli.table import ID, Column, Table

COLUMNS = (ID, Column("STATE", 9, 9), Column("SIZE", 10, 8, right=True), Column("BY", 12, 8), Column("NAME"))
TEXT = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=60)
PACKAGE_ID = "01a227ac-c47d-7a7f-b16b-65c2db84c13d"


def cells(text: str) -> int:
    """How many cells of a terminal the text takes."""
    wide = sum(unicodedata.east_asian_width(each) in {"W", "F"} for each in text)
    return wide + sum(not unicodedata.combining(each) for each in text)


@given(cell=TEXT, last=TEXT, width=st.integers(20, 200))
def test_on_a_terminal_lines_fit_and_the_last_column_is_whole(cell: str, last: str, width: int) -> None:
    lines = Table(COLUMNS, width).lines(PACKAGE_ID, "finalized", cell, cell, last)
    assert all(cells(line) <= width for line in lines)
    assert PACKAGE_ID[-8:] in lines[0]
    assert len(lines) == 1 or width < 140
    assert "".join(last.split()) in "".join("".join(lines).split())


@given(cell=TEXT, last=TEXT)
def test_elsewhere_each_record_is_one_line_with_all_of_its_text(cell: str, last: str) -> None:
    (line,) = Table(COLUMNS, None).lines(PACKAGE_ID, "finalized", cell, cell, last)
    assert line.startswith(f"{PACKAGE_ID}  finalized  ")
    assert cell in line
    assert line.endswith(f"  {last}")


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            None,
            f"{PACKAGE_ID}  open           12 KiB  a-very-long-principal  nightly  tag:release-4",
        ),
        (
            100,
            f"{PACKAGE_ID}  open           12 KiB  a-very-long…  nightly  tag:release-4",
        ),
        (60, "db84c13d  open         12 KiB  a-very-…  nightly\n" + " " * 41 + "tag:release-4"),
        (40, "db84c13d  open         12 KiB  a-very-…\n    nightly  tag:release-4"),
    ],
)
def test_a_record(width: int | None, expected: str) -> None:
    texts = (PACKAGE_ID, "open", "12 KiB", "a-very-long-principal", "nightly  tag:release-4")
    assert "\n".join(Table(COLUMNS, width).lines(*texts)) == expected


def test_what_a_terminal_could_take_for_a_command_is_escaped_before_it_is_measured() -> None:
    (line,) = Table((Column("A", 10, 10), Column("B")), 80).lines("\x1b[1m", "\x1b")
    assert line == r"\x1b[1m     \x1b"
