"""Questions that people ask find their answer by an index, on both databases."""

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Select, text

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.database import Database
from artifactstore.database.queries import differing_entries, queries_for
from artifactstore_protocols.package_references import (
    ByDigest,
    ById,
    ByName,
    ByPartOfId,
    ByTag,
    OpenByName,
    PackageQuery,
)

QUESTIONS: list[PackageQuery] = [
    ById("00000000-0000-0000-0000-000000000001"),
    ByPartOfId("000000000001"),
    ByName("nightly"),
    ByName("nightly", back=3, until_us=1),
    OpenByName("nightly"),
    ByTag("release"),
    ByDigest("manifest", f"blake3:{'a' * 64}"),
    ByDigest("tree", f"sha256:{'a' * 64}"),
]


async def plan(connection: AsyncConnection, selected: Select[tuple[Any, ...]]) -> list[str]:
    """The steps of the database's plan, in its words."""
    sql = str(selected.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    if connection.dialect.name == "sqlite":
        return [row[3] for row in (await connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))).all()]
    await connection.execute(text("SET LOCAL enable_seqscan = off"))  # a small table is read as a whole
    return [row[0] for row in (await connection.execute(text(f"EXPLAIN {sql}"))).all()]


@pytest.mark.slow
@pytest.mark.parametrize("wanted", QUESTIONS, ids=repr)
async def test_a_package_is_found_by_an_index(database: Database, wanted: PackageQuery) -> None:
    for selected in queries_for(wanted):
        await check_plan(database, selected, "artifact_packages")


async def check_plan(database: Database, selected: Select[tuple[Any, ...]], table: str) -> None:
    """It reads a table, and searches every table by an index."""
    steps = await database.read(partial(plan, selected=selected))
    assert any(table in step for step in steps)
    for step, detail in pairwise([*steps, ""]):
        assert not step.startswith("SCAN"), steps
        assert "Seq Scan" not in step, steps
        if "Index Scan" in step or "Index Only Scan" in step:
            assert "Index Cond" in detail, steps  # otherwise it reads the whole index


@pytest.mark.slow
async def test_two_packages_are_compared_by_searches_in_the_entries(database: Database) -> None:
    await check_plan(database, differing_entries(1, 2), " other ")
