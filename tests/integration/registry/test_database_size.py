"""The database grows by less than 1,000 bytes with each small file: the goal of the row `database` of the benchmark."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from artifactstore import Settings, open_registry

pytestmark = pytest.mark.slow

_FILES = 2048
_GOAL_BYTES = 1000


def _size_bytes(settings: Settings) -> int:
    with closing(sqlite3.connect(Path(settings.database_url.removeprefix("sqlite:///")))) as connection:
        pages, page_bytes = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages) * int(page_bytes)


async def test_a_small_file_needs_little_of_the_database(settings: Settings, tree: Path) -> None:
    for number in range(_FILES):
        directory = tree / f"{number // 100:03}"
        directory.mkdir(exist_ok=True)
        (directory / f"{number:05}.bin").write_bytes(number.to_bytes(4))
    async with open_registry(settings):
        pass
    empty_bytes = _size_bytes(settings)
    async with open_registry(settings) as registry:
        await registry.ingest_tree(tree, name="nightly")
    grown = (_size_bytes(settings) - empty_bytes) / _FILES
    assert grown < _GOAL_BYTES
