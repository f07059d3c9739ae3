"""Compaction of the file of small objects, beside readers and writers.

Deleted rows leave half-empty pages behind, which SQLite keeps for later rows near them. So if the objects fill less
than `FILL_MIN` of the file, every row is rewritten: it gets a new id at the end of the table, where rows are packed
densely. Then the free pages are cut off the end of the file, and the write-ahead log is copied into the file and cut.

Each step is a transaction of its own, so other writers wait for one step only. Readers keep their snapshots. A process
that dies leaves a whole file, which the next compaction continues.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from artifactstore.backends.small_file import SmallFile

__all__ = ["FILL_MIN", "compact"]

FILL_MIN: Final = 0.7
"""The part of the file that the objects must fill. Rewriting a fuller file gives little room back."""

_ROWS: Final = 512
_STEP_BYTES: Final = 4 << 20
_PAGES: Final = 512
_ROW_BYTES: Final = 24
"""The approximate overhead of a row, or of its index entry, in bytes."""

_FREE_MIN_PAGES: Final = 128
_USED: Final = """
SELECT coalesce(sum(CASE WHEN row_bytes <= :page THEN :page / (:page / row_bytes)
                         ELSE (row_bytes / :page + 1) * :page END + key_bytes), 0), max(id)
FROM (SELECT id, length(content) + length(key) + :row AS row_bytes, length(key) + :row AS key_bytes FROM objects)
"""
"""The room of all rows if each page held rows of one size only. Mixed sizes pack better, so a compacted file is full by
this measure, and is not compacted again."""

_NEXT: Final = "SELECT id, length(content) FROM objects WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
_MOVE: Final = "UPDATE objects SET id = ? WHERE id = ?"


def compact(file: SmallFile, check_cancelled: Callable[[], None]) -> int:
    """Compact the file if that is worth the work; return the number of bytes by which file and log became smaller.

    Args:
        file: the file.
        check_cancelled: called between steps; raises to abandon the rest.

    Raises:
        StorageDenied, StorageFull, StorageFailed: the file cannot be read or written.
    """
    with file.reading("measuring the file of small objects") as connection:
        if connection is None:
            return 0
        page_bytes = _pragma(connection, "page_size")
        size_bytes = _pragma(connection, "page_count") * page_bytes
        free_pages = _pragma(connection, "freelist_count")
        used_bytes, last_id = connection.execute(_USED, {"page": page_bytes, "row": _ROW_BYTES}).fetchone()
    before = file.size_bytes()
    if used_bytes < FILL_MIN * size_bytes and last_id is not None:
        _rewrite(file, last_id, check_cancelled)
    if used_bytes < FILL_MIN * size_bytes or free_pages >= _FREE_MIN_PAGES:
        while _cut_off(file):
            check_cancelled()
    with file.between_transactions("copying the log of small objects") as connection:
        # It would keep all writers out while it waits for readers. So it does not wait: if a reader needs the log, it
        # fails without an error, and the next compaction or the last `close` cuts the log.
        waited_ms = _pragma(connection, "busy_timeout")
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute(f"PRAGMA busy_timeout = {waited_ms}")
    return max(0, before - file.size_bytes())


def _rewrite(file: SmallFile, last_id: int, check_cancelled: Callable[[], None]) -> None:
    """Give each row up to `last_id` a new id at the end of the table, in order, some rows a transaction."""
    after = 0
    while True:
        check_cancelled()
        with file.writing("compacting small objects") as connection:
            chosen = _step(connection.execute(_NEXT, (after, last_id, _ROWS)).fetchall())
            if not chosen:
                return
            ((end,),) = connection.execute("SELECT max(id) FROM objects")
            connection.executemany(_MOVE, [(end + number, row) for number, row in enumerate(chosen, 1)])
            after = chosen[-1]
        _cut_off(file)


def _step(rows: list[tuple[int, int]]) -> list[int]:
    """Return the ids of the first rows, up to `_STEP_BYTES` of content, but at least one."""
    chosen: list[int] = []
    size_bytes = 0
    for row, length in rows:
        if chosen and size_bytes + length > _STEP_BYTES:
            break
        chosen.append(row)
        size_bytes += length
    return chosen


def _cut_off(file: SmallFile) -> bool:
    """Cut some free pages off the end of the file; return whether there may be more."""
    with file.writing("giving free pages back") as connection:
        if not _pragma(connection, "freelist_count"):
            return False
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()  # it frees a page for each row fetched
        return _pragma(connection, "freelist_count") > 0


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
