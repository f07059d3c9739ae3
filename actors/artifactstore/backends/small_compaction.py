"""Compaction of the file of small objects, beside readers and writers.

SQLite keeps one part of each row in a page of the table, beside other rows, and the rest in pages of its own. Deleted
rows free the latter, but leave half-empty pages of the table behind, which SQLite keeps for later rows near them. So if
the rows fill less than `FILL_MIN` of the pages in use, every row is rewritten: it gets a new id at the end of the
table, beside rows that take as much of a page. Then the free pages are cut off the end of the file, and the write-ahead
log is copied into the file and cut.

Each step is a transaction of its own, so other writers wait for one step only. Readers keep their snapshots. A process
that dies leaves a whole file, which the next compaction continues.
"""

import sqlite3
import time
from collections.abc import Callable
from operator import itemgetter
from typing import Final

from artifactstore.backends.small_file import SmallFile
from artifactstore_protocols.storage import Compaction

__all__ = ["FILL_MIN", "compact", "cut_off_most"]

FILL_MIN: Final = 0.93
"""The part of the pages in use that the rows must fill. Rewriting a fuller file gives little room back."""

_ROWS: Final = 512
_STEP_BYTES: Final = 4 << 20
_PAGES: Final = 4096
_FREE_MIN_PAGES: Final = 1024
_FREE_MAX_PAGES: Final = 8192
_LAST: Final = (1 << 63) - 1
_CUTS: Final = 10
_CUT_AGAIN_S: Final = 0.02
_CELLS: Final = """
(SELECT id, row_bytes, key_bytes, CASE
    WHEN row_bytes <= :page - 35 THEN row_bytes
    WHEN least + (row_bytes - least) % (:page - 4) <= :page - 35 THEN least + (row_bytes - least) % (:page - 4)
    ELSE least END AS cell_bytes
FROM (SELECT id, length(content) + length(key) + 15 AS row_bytes, (length(key) + 20) * 5 / 4 AS key_bytes,
             (:page - 12) * 32 / 255 - 23 AS least
      FROM objects WHERE id > :after AND id <= :last ORDER BY id LIMIT :limit))
"""
"""The size of each row, and how much of it is in a page of the table, by SQLite's file format."""

_NEXT: Final = f"SELECT id, row_bytes, cell_bytes FROM {_CELLS}"  # noqa: S608 - a constant
_USED: Final = f"""
SELECT coalesce(sum(:page * 1.0 / ((:page - 8) / (cell_bytes + 12)) + key_bytes
                    + (row_bytes - cell_bytes + :page - 5) / (:page - 4) * :page), 0), max(id)
FROM {_CELLS}
"""  # noqa: S608 - a constant
"""The room of all rows if each page of the table held rows of one size only, as a rewritten page does.

It includes their entries in the index, with the part of an index that is usually free.
"""

_MOVE: Final = "UPDATE objects SET id = ? WHERE id = ?"


def compact(file: SmallFile, check_cancelled: Callable[[], None]) -> Compaction:
    """Compact the file if that is worth the work; return the bytes by which file and log became smaller.

    Args:
        file: the file.
        check_cancelled: called between steps; raises to abandon the rest.

    Raises:
        StorageDenied, StorageFull, StorageFailed: the file cannot be read or written.
    """
    with file.reading("measuring the file of small objects") as connection:
        if connection is None:
            return Compaction(0)
        page_bytes = _pragma(connection, "page_size")
        page_count = _pragma(connection, "page_count")
        free_pages = _pragma(connection, "freelist_count")
        every = {"page": page_bytes, "after": 0, "last": _LAST, "limit": -1}
        room_bytes, last_id = connection.execute(_USED, every).fetchone()
    before = file.size_bytes()
    is_loose = room_bytes < FILL_MIN * (page_count - free_pages) * page_bytes
    if is_loose and last_id is not None:
        _rewrite(file, last_id, page_bytes, check_cancelled)
    if is_loose or free_pages >= _FREE_MIN_PAGES:
        while _cut_off(file):
            check_cancelled()
    with file.between_transactions("copying the log of small objects") as connection:
        # It would keep all writers out while it waits for readers. So it does not wait, but tries again. If a reader
        # needs the log for longer, the next compaction or the last `close` cuts it.
        waited_ms = _pragma(connection, "busy_timeout")
        connection.execute("PRAGMA busy_timeout = 0")
        is_busy = 1
        for _ in range(_CUTS):
            ((is_busy, *_counts),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not is_busy:
                break
            check_cancelled()
            time.sleep(_CUT_AGAIN_S)
        connection.execute(f"PRAGMA busy_timeout = {waited_ms}")
    return Compaction(max(0, before - file.size_bytes()), is_whole=not is_busy)


def _rewrite(file: SmallFile, last_id: int, page_bytes: int, check_cancelled: Callable[[], None]) -> None:
    """Give each row up to `last_id` a new id at the end of the table, some rows a transaction, by size within it."""
    after = 0
    while True:
        check_cancelled()
        with file.writing("compacting small objects") as connection:
            wanted = {"page": page_bytes, "after": after, "last": last_id, "limit": _ROWS}
            chosen = _step(connection.execute(_NEXT, wanted).fetchall())
            if not chosen:
                return
            ((end,),) = connection.execute("SELECT max(id) FROM objects")
            by_size = sorted(chosen, key=itemgetter(1))
            connection.executemany(_MOVE, [(end + number, row) for number, (row, _cell) in enumerate(by_size, 1)])
            after = chosen[-1][0]
        _cut_off(file)


def _step(rows: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Return id and part in the table of the first rows, up to `_STEP_BYTES`, but of at least one."""
    chosen: list[tuple[int, int]] = []
    size_bytes = 0
    for row, row_bytes, cell_bytes in rows:
        if chosen and size_bytes + row_bytes > _STEP_BYTES:
            break
        chosen.append((row, cell_bytes))
        size_bytes += row_bytes
    return chosen


def cut_off_most(file: SmallFile) -> None:
    """Cut off all but some free pages, after rows were deleted.

    SQLite looks for each page at the end of the file among all free pages. If a large collection left them all to
    `compact`, the work would grow with their square.
    """
    while _cut_off(file, keep=_FREE_MAX_PAGES):
        pass


def _cut_off(file: SmallFile, *, keep: int = 0) -> bool:
    """Cut some free pages off the end of the file; return whether more than `keep` are left."""
    with file.writing("giving free pages back") as connection:
        more = _pragma(connection, "freelist_count") - keep
        if more <= 0:
            return False
        # It frees a page for each row that is fetched.
        connection.execute(f"PRAGMA incremental_vacuum({min(more, _PAGES)})").fetchall()
        return _pragma(connection, "freelist_count") > keep


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
