"""Every event store lists the packages, and finds the entries, that looking at all of them finds."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pytest
from msgspec import structs

from artifactstore.database import rare_names
from artifactstore.database.queries import entries
from artifactstore.database.store import SqlEventStore
from artifactstore.ingest.finalizing import build_manifest
from artifactstore_protocols.commands import AnnotatePackage, FinalizePackage, SetTag
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.package_listing import (
    EntryFilter,
    EntryListing,
    PackageFilter,
    PackageListing,
    SortKey,
    position_of,
)
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import FileRecord, FoundEntry, PackageRecord
from command_strategies import created, digests_of, ingest, ingested, package_id_of
from database_tools import ACTOR, EPOCH_US, Scribe
from package_queries import select_entries, select_page

SORTS: Sequence[SortKey] = ("created", "name", "size")
NUMBERS = range(1, 13)
PATHS = ("a\U0010ffff.log", "docs/a.md", "docs/b/a.md", "docs/b/é.log", "100%/a_b", "100x/aXb")
CONTENTS = (b"x", b"y", b"x" * 5)
FILTERS = [
    PackageFilter(),
    PackageFilter(name="nightly-2"),
    PackageFilter(name="nightly-*"),
    PackageFilter(name="*[!3]"),
    PackageFilter(name="*%"),
    PackageFilter(name="Nightly-*"),
    PackageFilter(status="open"),
    PackageFilter(status="finalized"),
    PackageFilter(created_by=ACTOR),
    PackageFilter(created_by="CORP\\nobody["),
    PackageFilter(retention_class="long"),
    PackageFilter(tag="release-*"),
    PackageFilter(tag="é"),
    PackageFilter(since_us=EPOCH_US + 5, until_us=EPOCH_US + 20),
    PackageFilter(metadata={"branch": "main"}),
    PackageFilter(metadata={"branch": "main", "run": "4"}),
    PackageFilter(metadata={"score": "4"}),
    PackageFilter(metadata={"score": 4, "passed": True}),
    PackageFilter(metadata={"branch": "dev", "passed": "true"}),
    PackageFilter(name="nightly-*", status="finalized", tag="release-*"),
    PackageFilter(has=("hosts",)),
    PackageFilter(has=("score", "passed")),
    PackageFilter(has=("hosts",), metadata={"branch": "dev", "passed": True}),
    PackageFilter(has=("Score",)),
    PackageFilter(within=("nightly-2",)),
    PackageFilter(within=("nightly-[13]", "1*0%")),
    PackageFilter(within=("*",), name="nightly-*", status="open"),
    PackageFilter(within=("nightly-2", "weekly"), name="nightly-*"),
    PackageFilter(within=()),
]
SEARCHES = [
    EntryFilter(path="docs/a.md"),
    EntryFilter(path="docs/*"),
    EntryFilter(path="docs/**"),
    EntryFilter(path="100%/*"),
    EntryFilter(path="a*"),
    EntryFilter(path="docs/a*"),
    EntryFilter(path="**/*.log"),
    EntryFilter(path="docs/b/*.log"),
    EntryFilter(path="**/\u00e9*.log"),
    EntryFilter(name="a.m*"),
    EntryFilter(name="?*.log", path="docs/**"),
    EntryFilter(path="docs/b/e\u0301.log"),  # another form of the same letter
    EntryFilter(name="a.*"),
    EntryFilter(name="*.[lm]*"),
    EntryFilter(path="*o*/?*"),
    EntryFilter(name="a_b"),
    EntryFilter(name="a.md"),
    EntryFilter(name="e\u0301.log"),
    EntryFilter(path="**/b/\u00e9.log"),
    EntryFilter(path="**/[b/]/\u00e9.log"),
    EntryFilter(name="a.md", path="*/*"),
    EntryFilter(name="*.md", path="docs/*"),
    EntryFilter(digest=f"blake3:{digests_of(b'x').primary.hex}"),
    EntryFilter(digest=digests_of(b"y").sha256.hex),
    EntryFilter(digest=f"sha256:{digests_of(b'y').sha256.hex}", name="*.md"),
    EntryFilter(digest=f"sha256:{'0' * 64}"),
]


async def fill(store: EventStore, scribe: Scribe) -> tuple[Sequence[PackageRecord], Mapping[str, list[FileRecord]]]:
    """Packages of several names, classes and states, some with tags, and with some paths each."""
    for number in NUMBERS:
        await scribe.tell(
            created(
                number,
                name=f"nightly-{number % 4}" if number % 3 else "100%",
                retention_class="short" if number % 5 else "long",
                metadata={"run": str(number), "branch": "main" if number % 2 else "dev"},
            )
        )
        for at, path in enumerate(PATHS):
            if (number + at) % 2:
                await scribe.tell(ingest(ingested(path, CONTENTS[(number + at) % 3]), package=number))
    for number in (2, 9, 5, 7):
        contents = await store.contents(package_id_of(number))
        payload, summary = build_manifest(contents, principal=ACTOR, finalized_at_us=EPOCH_US + number)
        await scribe.tell(FinalizePackage(package_id_of(number), contents.package.version, payload, summary))
    await scribe.tell(AnnotatePackage(package_id_of(2), {"score": 4, "passed": True, "hosts": ["a"]}))
    await scribe.tell(AnnotatePackage(package_id_of(9), {"score": "4", "passed": False}))
    for tag, number in (("release-1", 2), ("release-2", 2), ("é", 9)):
        await scribe.tell(SetTag(tag, package_id_of(number)))
    packages = await store.packages(PackageListing(ascending=True))
    assert [each.package_id for each in packages] == [package_id_of(number) for number in NUMBERS]
    return packages, {each.package_id: list((await store.files(each.package_id))[1]) for each in packages}


@pytest.mark.slow
async def test_a_list_is_the_one_that_looking_at_all_gives(store: EventStore, scribe: Scribe) -> None:
    packages, _files = await fill(store, scribe)
    assert packages[1].tags == ("release-1", "release-2")
    different: set[tuple[str, ...]] = set()
    for where in FILTERS:
        for sort in SORTS:
            for ascending in (False, True):
                page = PackageListing(where, sort, ascending=ascending)
                expected = select_page(packages, page)
                assert list(await store.packages(page)) == expected
                seen: list[PackageRecord] = []
                part = structs.replace(page, limit=2)
                while found := await store.packages(part):
                    seen += found
                    part = structs.replace(part, after=position_of(found[-1], sort))
                assert seen == expected
                different.add(tuple(each.package_id for each in expected))
    assert len(different) > 2 * len(SORTS)


async def every_entry(store: EventStore, page: EntryListing) -> Sequence[FoundEntry]:
    """What the pages of a search find. Each page ends later than the one before, or the search does."""
    seen: list[FoundEntry] = []
    while True:
        found = await store.find_entries(page)
        assert len(found.found) <= page.limit
        seen += found.found
        if found.after is None:
            return seen
        assert found.after != page.after
        page = structs.replace(page, after=found.after)


async def test_a_page_of_a_search_ends_with_the_package_that_makes_it_long(
    store: EventStore, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "SEARCHED_ENTRIES", 3)
    for number in range(1, 5):
        await scribe.tell(created(number), *(ingest(ingested(path, b"x"), package=number) for path in ("a", "b")))
    [oldest, *_others] = await store.packages(PackageListing(ascending=True))
    await scribe.tell(ingest(ingested("rare-name.c", b"x"), package=1))
    page = EntryListing(EntryFilter(name="*-name*"))
    first = await store.find_entries(page)
    if isinstance(store, SqlEventStore):
        assert first.found == []
        assert first.after is not None
        assert first.after[0] > oldest.created_sequence
    [found] = await every_entry(store, page)
    assert (found.package.package_id, found.entry.path) == (oldest.package_id, "rare-name.c")


@pytest.mark.slow
async def test_a_search_finds_what_looking_at_all_finds(
    store: EventStore, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, files = await fill(store, scribe)
    for wanted in SEARCHES:
        every = (PackageFilter(), PackageFilter(name="nightly-*"), PackageFilter(tag="release-*"))
        for where, ascending in product(every, (False, True)):
            monkeypatch.setattr(rare_names, "RARE_MAX", 0 if where is every[1] else 2_000)
            monkeypatch.setattr(rare_names, "ENDINGS_MAX", 1 if where is every[2] else 1_000)
            monkeypatch.setattr(entries, "SEARCHED_ENTRIES", 7 if where is every[0] else 500_000)
            monkeypatch.setattr(entries, "SEARCHED_PACKAGES", 2 if where is every[1] else 2_000)
            page = EntryListing(wanted, where, ascending=ascending)
            expected = select_entries(packages, files.__getitem__, page).found
            for limit in (2, 500):
                assert await every_entry(store, structs.replace(page, limit=limit)) == expected
            assert expected or wanted is SEARCHES[-1] or where.name or where.tag


async def test_the_entries_of_a_package_come_in_pages_by_their_keys(store: EventStore, scribe: Scribe) -> None:
    await scribe.tell(created(1), *(ingest(ingested(path, b"x")) for path in PATHS[:3]))
    expected = sorted((await store.files(package_id_of(1)))[1], key=lambda each: path_key(each.path))
    seen: list[FileRecord] = []
    while found := await store.file_page(package_id_of(1), after=path_key(seen[-1].path) if seen else "", limit=2):
        seen += found
    assert seen == expected
    assert len(seen) == len(PATHS[:3])
    with pytest.raises(PackageNotFound):
        await store.file_page(package_id_of(2), after="", limit=4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": 5},
        {"tag": "a\0"},
        {"created_by": "a\0"},
        {"retention_class": "\ud800"},
        {"status": "done"},
        {"since_us": "1d"},
        {"metadata": {"a": 1.5}},
        {"metadata": {"a": [1]}},
        {"has": [""]},
        {"has": ["a\0"]},
        {"within": ["a["]},
    ],
)
def test_a_wrong_filter_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        PackageFilter(**wrong)


@pytest.mark.parametrize("wrong", [{}, {"path": ""}, {"name": "a/b"}, {"digest": "md5:0"}, {"digest": "0" * 63}])
def test_a_wrong_search_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        EntryFilter(**wrong)
