"""Questions that people ask find their answer by an index, on both databases."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import CompoundSelect, Select, text

from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.bulk import lookup
from artifactstore.database.collectable import collectable_page, retired_query, unreleased_page, waiting_queries
from artifactstore.database.database import Database
from artifactstore.database.keep_policies import next_name_query
from artifactstore.database.keeping import holds_query, kept_queries, left_query, retained_query
from artifactstore.database.queries import (
    contents_with_sha256,
    differing_entries,
    entries_query,
    file_page_query,
    listing_query,
    queries_for,
    searched_query,
    tags_query,
)
from artifactstore.database.rare_names import endings_query, named_query, rare_query
from artifactstore.database.schema import LIVE
from artifactstore.database.stats import stats_queries
from artifactstore.database.tokens import token_query
from artifactstore.database.uploads import readable_query, receipt_query, usable_query
from artifactstore.database.usage import name_usage_query, unique_usage_query
from artifactstore.database.verification import due_query, files_with_content_query, state_queries
from artifactstore.database.views import row_statements
from artifactstore_protocols.collection import CollectableObject
from artifactstore_protocols.package_listing import EntryFilter, EntryListing, PackageFilter, PackageListing, SortKey
from artifactstore_protocols.package_references import (
    ByDigest,
    ById,
    ByName,
    ByPartOfId,
    ByTag,
    OpenByName,
    PackageQuery,
)
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import Place
from artifactstore_protocols.verification import SEED_MAX, DueKey, DueObjects, Sample
from artifactstore_protocols.views import MarkVerified

pytestmark = pytest.mark.slow

QUESTIONS: list[PackageQuery] = [
    ById("00000000-0000-0000-0000-000000000001"),
    ByPartOfId("000000000001"),
    ByName("nightly"),
    ByName("nightly", back=3, until_us=1),
    ByName("nightly", back=3, before=7),
    OpenByName("nightly"),
    ByTag("release"),
    ByDigest("manifest", f"blake3:{'a' * 64}"),
    ByDigest("tree", f"sha256:{'a' * 64}"),
    ByDigest("tree", f"sha256:{'a' * 64}", gone=True),
]


async def plan(
    connection: AsyncConnection, selected: Select[tuple[Any, ...]] | CompoundSelect[Any], *ways: str
) -> list[str]:
    """The steps of the database's plan, in its words; PostgreSQL avoids these ways, which are cheap in small tables."""
    sql = str(selected.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    if connection.dialect.name == "sqlite":
        return [row[3] for row in (await connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))).all()]
    for way in ("seqscan", *ways):
        await connection.execute(text(f"SET LOCAL enable_{way} = off"))
    return [row[0] for row in (await connection.execute(text(f"EXPLAIN {sql}"))).all()]


@pytest.mark.parametrize("within", [None, ["night*", "a"]], ids=["among all", "within globs"])
@pytest.mark.parametrize("wanted", QUESTIONS, ids=repr)
async def test_a_package_is_found_by_an_index(
    database: Database, wanted: PackageQuery, within: list[str] | None
) -> None:
    for selected in queries_for(wanted, within):
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


async def test_what_expires_next_is_read_in_its_order(database: Database) -> None:
    for kept in (True, False):
        selected = retained_query(until_us=10**15, after=(7, "p"), limit=9, kept=kept)
        await check_plan(database, selected, "retention_state")
        steps = await database.read(partial(plan_in_order, selected=selected))
        assert any("ix_retention_state_expires_at_package_id" in step for step in steps), steps
        assert not [step for step in steps if "TEMP B-TREE" in step or "Sort" in step], steps


async def test_open_packages_that_nobody_touched_are_found_by_indexes(database: Database) -> None:
    await check_plan(database, left_query(until_us=10**15, after=7, limit=9), "artifact_packages")


async def test_two_packages_are_compared_by_searches_in_the_entries(database: Database) -> None:
    await check_plan(database, differing_entries(1, 2), " other ")


@pytest.mark.parametrize("name", [None, "nightly", "night*"])
async def test_space_is_told_by_the_names_of_packages_and_reads_no_entry(database: Database, name: str | None) -> None:
    selected = name_usage_query(name, "", 500)
    await check_order(database, selected)
    steps = await database.read(partial(plan_in_order, selected=selected))
    assert any("ix_artifact_packages_name_" in step for step in steps), steps
    assert [step for step in steps if "artifact_files" in step or "storage_locations" in step] == []


@pytest.mark.parametrize("numbers", [[1], list(range(1, 257))], ids=len)
async def test_unique_bytes_are_found_by_searches_for_entries_and_contents(
    database: Database, numbers: list[int]
) -> None:
    steps = await database.read(partial(plan, selected=unique_usage_query(numbers)))
    assert any("ix_artifact_files_digest_primary_package_number" in step and " others" in step for step in steps), steps
    for table in ("artifact_files", "storage_locations", "contents", "others", "owners"):
        reads = [step for step in steps if f" {table}" in step]
        assert [step for step in reads if step.startswith("SCAN") or "Seq Scan" in step] == [], steps


@pytest.mark.parametrize("name", [None, "nightly", "night*"])
async def test_the_next_name_that_policies_judge_is_found_by_an_index(database: Database, name: str | None) -> None:
    await check_order(database, next_name_query(name, "a"))


async def test_a_token_is_found_by_the_digest_of_its_secret(database: Database) -> None:
    await check_plan(database, token_query(b"1" * 32), "ix_access_tokens_digest")


async def test_the_totals_are_read_by_their_key_and_the_runs_from_a_table_of_two_rows(database: Database) -> None:
    of_totals, of_runs = stats_queries()
    await check_plan(database, of_totals, "store_totals")
    steps = await database.read(partial(plan, selected=of_runs))
    assert [table for table in LIVE if any(table.name in step for step in steps)] == []
    assert any("last_runs" in step for step in steps)


PARTS = [Sample(1_000_000), Sample(250_000, 7), Sample(500_000, SEED_MAX)]


async def explained(connection: AsyncConnection, sql: str, values: Sequence[object]) -> list[str]:
    """The steps of the plan of a statement with parameters, if tables were large."""
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    if connection.dialect.name != "sqlite":
        for way in ("seqscan", *_NOT_IN_ORDER):
            await connection.execute(text(f"SET LOCAL enable_{way} = off"))
    found = await connection.exec_driver_sql(f"{explain} {sql}", tuple(values))
    return [str(tuple(row)) for row in found.all()]


@pytest.mark.parametrize("sample", PARTS, ids=repr)
@pytest.mark.parametrize("after", [None, (2, b"x", "local", "k")], ids=["first page", "next page"])
async def test_what_is_due_is_read_in_the_order_of_an_index(
    database: Database, sample: Sample, after: DueKey | None
) -> None:
    async def look(connection: AsyncConnection) -> list[str]:
        made = due_query(DueObjects(7, sample), after, 10).compile(dialect=connection.dialect)
        return await explained(connection, str(made), [made.params[name] for name in made.positiontup or ()])

    steps = await database.read(look)
    assert any("ix_storage_locations_verified" in step for step in steps), steps
    # Only the objects that one event has stored or verified are sorted, and they are at most 2,048.
    for step in steps:
        assert "TEMP B-TREE" not in step or "RIGHT PART" in step or "LAST 3 TERMS" in step, steps
        assert "Sort  (" not in step or "Incremental Sort  (" in step, steps


async def test_a_content_is_found_by_its_sha256(database: Database) -> None:
    await check_plan(database, contents_with_sha256(b"a" * 32), "contents")


async def test_the_age_of_a_verification_is_found_by_two_indexes(database: Database) -> None:
    last, oldest = state_queries()
    await check_plan(database, last, "events")
    steps = await database.read(partial(plan_in_order, selected=oldest))
    assert any("ix_storage_locations_verified" in step for step in steps), steps
    assert not any("SCAN events" in step or "Seq Scan" in step for step in steps), steps


@pytest.mark.parametrize("sample", PARTS, ids=repr)
async def test_a_range_is_marked_by_the_index(database: Database, sample: Sample) -> None:
    marked = MarkVerified((2, b"x", "local", "k"), (3, b"y", "local", "k"), sample.arcs, 9)

    async def look(connection: AsyncConnection) -> list[str]:
        [statement] = row_statements([marked], LIVE, connection.dialect.name)
        return await explained(connection, statement.sql, statement.parameters[0])

    steps = await database.read(look)
    assert any("ix_storage_locations_verified" in step for step in steps), steps


COLLECTABLE = CollectableObject(Place("local", f"blake3/01/01/{'01' * 32}"), 0, 7)


@pytest.mark.parametrize("after", [None, COLLECTABLE], ids=["first", "next"])
@pytest.mark.parametrize("state", ["condemned", "retired"])
async def test_a_collection_reads_only_what_it_collects(
    database: Database, state: ObjectState, after: CollectableObject | None
) -> None:
    await check_collectable(database, collectable_page(state, after, 100))


async def check_collectable(database: Database, selected: Select[tuple[Any, ...]]) -> None:
    """It reads the objects in order, by the index of those that a collection sees."""
    steps = await database.read(partial(plan_in_order, selected=selected))
    assert any("ix_storage_locations_collectable" in step for step in steps), steps
    assert not any(step.startswith("SCAN") or "Seq Scan" in step or "TEMP B-TREE" in step for step in steps), steps


async def test_a_dry_run_of_a_collection_reads_totals_and_counts_what_waits_by_its_time(database: Database) -> None:
    await check_plan(database, stats_queries()[0], "store_totals")
    await check_collectable(database, retired_query())
    for selected in waiting_queries(after_us=7):
        await check_collectable(database, selected)
    steps = await database.read(partial(plan_in_order, selected=waiting_queries(after_us=7)[1]))
    assert any("changed_at>" in step.replace(" ", "") for step in steps), steps


async def test_what_keeps_a_package_is_explained_by_searches(database: Database) -> None:
    retention, protected = kept_queries("p")
    for selected, table in ((retention, "retention_state"), (protected, "artifact_tags")):
        await check_plan(database, selected, table)
    for package_id in (None, "p"):
        await check_plan(database, holds_query(package_id=package_id, after="h", limit=9), "artifact_holds")


async def test_the_files_with_a_content_are_counted_by_its_index(database: Database) -> None:
    selected = files_with_content_query(b"d" * 32)
    await check_plan(database, selected, "artifact_files")
    steps = await database.read(partial(plan, selected=selected))
    assert any("ix_artifact_files_digest_primary_package_number" in step for step in steps), steps


async def test_gone_packages_that_hold_entries_are_found_by_an_index(database: Database) -> None:
    steps = await database.read(partial(plan_in_order, selected=unreleased_page(0, 100)))
    assert any("ix_artifact_packages_unreleased" in step for step in steps), steps


READ_BY_A_PUSH = ("artifact_files", "artifact_packages", "storage_locations", "contents", "upload_receipts")


async def test_what_a_push_may_refer_to_is_found_by_indexes(database: Database) -> None:
    async def look(connection: AsyncConnection) -> list[str]:
        name = connection.dialect.name
        key = b"d" * 32, "ci", "p", 7
        steps = await plan_in_order(connection, readable_query([b"d" * 32, b"e" * 32], ["night*", "a"]))
        lookups = lookup(usable_query(name), [key[:1]]), lookup(receipt_query(name), [key])
        for sql, values in (each for one in lookups for each in one.executions):
            steps += await explained(connection, sql, values)
        return steps

    steps = await database.read(look)
    for index in ("ix_artifact_files_digest_primary", "ix_storage_locations_key", "upload_receipts"):
        assert any(index in step for step in steps), steps
    for step in steps:
        assert "Seq Scan" not in step, steps
        assert not any(f"SCAN {table}" in step for table in READ_BY_A_PUSH), steps


async def plan_in_order(
    connection: AsyncConnection, selected: Select[tuple[Any, ...]] | CompoundSelect[Any]
) -> list[str]:
    """The steps of a plan that sorts as little as possible."""
    return await plan(connection, selected, *_NOT_IN_ORDER)


_NOT_IN_ORDER = ("sort", "hashjoin", "mergejoin", "bitmapscan")

LISTS = [
    PackageListing(),
    PackageListing(sort="name"),
    PackageListing(sort="size", ascending=True),
    PackageListing(after=(7, 7)),
    PackageListing(sort="name", after=("nightly", 7)),
    PackageListing(PackageFilter(name="nightly")),
    PackageListing(PackageFilter(name="nightly-*", status="finalized", since_us=1)),
    PackageListing(PackageFilter(name="nightly", status="finalized", created_by="ci"), "size"),
    PackageListing(PackageFilter(status="finalized", retention_class="long"), "name"),
    PackageListing(PackageFilter(name="nightly-*"), "name"),
    PackageListing(PackageFilter(created_by="ci")),
    PackageListing(PackageFilter(retention_class="long")),
    PackageListing(PackageFilter(status="open")),
    PackageListing(PackageFilter(metadata={"branch": "main"})),
    PackageListing(PackageFilter(metadata={"branch": "main", "tests": 412}, status="finalized"), after=(7, 7)),
    PackageListing(PackageFilter(metadata={"branch": "main"}), ascending=True, after=(7, 7)),
    PackageListing(PackageFilter(metadata={"branch": "main"}), "name"),
    PackageListing(PackageFilter(made_from="p")),
    PackageListing(PackageFilter(made_from="p", metadata={"branch": "main"}), after=(7, 7)),
    PackageListing(PackageFilter(made_from="p"), "size"),
    PackageListing(PackageFilter(has=("skipped",))),
    PackageListing(PackageFilter(has=("skipped", "branch"), metadata={"branch": "main"}), after=(7, 7)),
    PackageListing(PackageFilter(has=("skipped", "branch")), ascending=True, after=(7, 7)),
]
SEARCHES = [
    EntryListing(EntryFilter(path="docs/a.md")),
    EntryListing(EntryFilter(path="docs/**")),
    EntryListing(EntryFilter(path="docs/a.md"), PackageFilter(name="nightly")),
    EntryListing(EntryFilter(path="docs/a.md"), PackageFilter(name="night*")),
    EntryListing(EntryFilter(path="docs/a.md"), after=(7, "docs/a.md")),
    EntryListing(EntryFilter(path="docs/a.md"), after=(7, "docs/a.md"), ascending=True),
]


@pytest.mark.parametrize("page", LISTS, ids=repr)
async def test_a_list_is_read_in_its_order(database: Database, page: PackageListing) -> None:
    await check_order(database, listing_query(page))


@pytest.mark.parametrize("page", SEARCHES, ids=repr)
async def test_a_search_reads_packages_in_order_and_their_paths_by_key(database: Database, page: EntryListing) -> None:
    await check_order(database, entries_query(page, None))
    await check_order(database, entries_query(page, None, last=5 if not page.ascending else 9))
    await check_order(database, searched_query(page))


@pytest.mark.parametrize("within", [("nightly",), ("nightly-*",), ("nightly-*", "weekly"), ("*",)], ids=repr)
@pytest.mark.parametrize("sort", ["created", "name", "size"])
async def test_the_list_of_a_token_is_read_in_its_order(
    database: Database, within: Sequence[str], sort: SortKey
) -> None:
    after = ("a", 7) if sort == "name" else (7, 7)
    await check_order(database, listing_query(PackageListing(PackageFilter(within=within), sort, after=after)))


async def test_pages_of_files_and_of_tags_are_read_by_their_keys(database: Database) -> None:
    for selected, table in ((file_page_query(7, after="a", limit=9), "artifact_files"),):
        await check_plan(database, selected, table)
    await check_plan(database, tags_query(after="a", limit=9), "artifact_tags")


async def test_a_beginning_limits_what_is_read(database: Database) -> None:
    for selected, column in (
        (listing_query(PackageListing(PackageFilter(name="nightly-*"), "name")), "name"),
        (entries_query(EntryListing(EntryFilter(path="docs/**")), None), "path_key"),
    ):
        steps = await database.read(partial(plan_in_order, selected=selected))
        conditions = [step for step in steps if step.startswith("SEARCH") or "Index Cond" in step]
        assert any(f"{column}>" in step.replace(" ", "") and "<" in step for step in conditions), steps


async def test_metadata_is_searched_by_key_and_value(database: Database) -> None:
    for page in (
        PackageListing(PackageFilter(metadata={"branch": "main"})),
        PackageListing(PackageFilter(metadata={"branch": "main", "tests": 412}), after=(7, 7)),
    ):
        steps = await database.read(partial(plan_in_order, selected=listing_query(page)))
        assert any("(term=" in step.replace(" ", "") for step in steps), steps


async def test_a_key_with_any_value_is_searched_by_its_index(database: Database) -> None:
    selected = listing_query(PackageListing(PackageFilter(has=("skipped", "branch"))))
    steps = await database.read(partial(plan_in_order, selected=selected))
    assert any("(key=" in step.replace(" ", "") for step in steps), steps


async def test_what_a_package_was_made_into_is_found_by_its_id(database: Database) -> None:
    selected = listing_query(PackageListing(PackageFilter(made_from="p")))
    steps = await database.read(partial(plan_in_order, selected=selected))
    assert any("(parent_id=" in step.replace(" ", "") for step in steps), steps


async def test_a_content_is_searched_by_its_digest(database: Database) -> None:
    await check_order(database, entries_query(EntryListing(EntryFilter(digest="d" * 64)), [b"d" * 32]))


@pytest.mark.parametrize("wanted", [EntryFilter(name="crash.log"), EntryFilter(path="**/logs/crash.log")], ids=repr)
async def test_a_file_name_is_searched_by_its_index(database: Database, wanted: EntryFilter) -> None:
    for page in (
        EntryListing(wanted),
        EntryListing(wanted, after=(7, "a/crash.log")),
        EntryListing(wanted, PackageFilter(name="night*")),
    ):
        selected = entries_query(page, None)
        await check_order(database, selected)
        steps = await database.read(partial(plan_in_order, selected=selected))
        assert any("ix_artifact_files_name" in step for step in steps), steps


async def test_files_of_rare_names_are_searched_by_the_index_of_names(database: Database) -> None:
    for glob in ("docs/a.md", "crash*", "logs/crash*", "**/*.log", "build/*.log", "**/*.tar.gz", "**/crash*.log"):
        named = named_query(glob, (".log", ".xml"))
        await check_names(database, named)
        await check_names(database, rare_query(glob, named))
        # The packages that are left, few enough to sort their files, are read by their numbers.
        page = EntryListing(EntryFilter(path=glob), after=(7, "a"))
        steps = await database.read(partial(plan_in_order, selected=entries_query(page, None, [7, 5, 3])))
        assert not any(step.startswith("SCAN") or "Seq Scan" in step for step in steps), steps


async def test_the_endings_of_names_are_found_by_one_search_each(database: Database) -> None:
    await check_names(database, endings_query("crash"))


async def check_names(database: Database, selected: Select[tuple[Any, ...]] | CompoundSelect[Any]) -> None:
    """It searches the index of names wherever it reads files, and nothing else."""
    steps = await database.read(partial(plan_in_order, selected=selected))
    reads = [at for at, step in enumerate(steps) if "artifact_files" in step]
    assert reads, steps
    for at in reads:
        assert "ix_artifact_files_name" in steps[at], steps
        assert steps[at].startswith("SEARCH") or "Index Cond" in steps[at + 1], steps


async def check_order(database: Database, selected: Select[tuple[Any, ...]]) -> None:
    """It reads packages in the order of the answer, by an index; at most the entries of one package are sorted."""
    steps = await database.read(partial(plan_in_order, selected=selected))
    for step in steps:
        assert "TEMP B-TREE" not in step or "RIGHT PART" in step, "\n".join(steps)
        assert "Sort  " not in step or "Incremental Sort" in step, step
        assert "Seq Scan" not in step, step
        assert not step.startswith("SCAN") or " INDEX ix_artifact_packages_" in step, step
