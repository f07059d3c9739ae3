"""Every event store finds the package that looking at all packages finds."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from artifactstore.database.queries import lookup
from artifactstore.ingest.finalizing import build_manifest
from artifactstore_protocols.commands import FinalizePackage, SetTag
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.package_listing import PackageFilter, PackageListing
from artifactstore_protocols.records import PackageRecord
from command_strategies import created, ingest, ingested, package_id_of
from database_tools import ACTOR, EPOCH_US, Scribe
from package_queries import find_among

DAY_US = 86_400_000_000
TAGS = {"release": package_id_of(3), "é": package_id_of(1)}
DAYS = ("1969-12-31", "1970-01-02", "1970-01-05T00:00", "1970-01-05T00:00:01", "1970-01-06", "2099-12-31")
PARTS = ("000000", "00000000-0000-0000-0000-00000000000", "000001", "000000000009", "0000000", "0000010", "ffffff")
ODD = (
    "",
    "\0",
    "Nightly",
    "%%%%%%",
    "______",
    "000000%",
    "n@",
    "@latest",
    "tag:x",
    "tag:release",
    "tag:é",
    "tag:",
    "nightly@{x}",
    "nightly@9999-12-31",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The id that was found, or the error and its text."""

    found: str | None = None
    refused: tuple[type[ArtifactStoreError], str] | None = None


async def fill(store: EventStore, scribe: Scribe) -> Sequence[PackageRecord]:
    """Packages of two names: some of equal content, finalized on several days and not in the order of creation."""
    await scribe.tell(*(created(number, name="nightly" if number % 3 else "weekly") for number in range(1, 14)))
    for number in (1, 3, 5, 4, 6, 2):
        await scribe.tell(ingest(ingested("a", b"x" * (number // 2)), package=number))
        contents = await store.contents(package_id_of(number))
        payload, summary = build_manifest(contents, principal=ACTOR, finalized_at_us=EPOCH_US + number * DAY_US)
        await scribe.tell(FinalizePackage(package_id_of(number), contents.package.version, payload, summary))
    await scribe.tell(*(SetTag(tag, package_id) for tag, package_id in TAGS.items()))
    return await store.packages(PackageListing(ascending=True))


def looked_up(text: str, packages: Sequence[PackageRecord], *, prefer_open: bool = False) -> Outcome:
    try:
        return Outcome(found=find_among(text, packages, TAGS, prefer_open=prefer_open).package_id)
    except ArtifactStoreError as error:
        return Outcome(refused=(type(error), str(error)))


async def asked(
    text: str, store: EventStore, *, prefer_open: bool = False, within: Sequence[str] | None = None
) -> Outcome:
    try:
        found = await store.find_package(text, prefer_open=prefer_open, within=within)
        return Outcome(found=found.package_id)
    except ArtifactStoreError as error:
        return Outcome(refused=(type(error), str(error)))


def digests_of(packages: Sequence[PackageRecord]) -> list[str]:
    """The texts that name packages by a digest."""
    return [
        f"{of}:{digest}"
        for each in packages
        for of, digest in (("manifest", each.manifest_digest), ("tree", each.tree_digest))
        if digest is not None
    ]


@pytest.mark.slow
@pytest.mark.parametrize("prefer_open", [False, True], ids=["", "open first"])
async def test_it_is_the_one_that_looking_at_all_finds(store: EventStore, scribe: Scribe, prefer_open: bool) -> None:
    packages = await fill(store, scribe)
    digests = digests_of(packages)
    selected = [f"{name}@{{{back}}}" for name in ("nightly", "weekly", "hourly") for back in range(5)]
    days = [f"{name}@{day}" for name in ("nightly", "weekly") for day in DAYS]
    ids = [packages[0].package_id, packages[-1].package_id, package_id_of(50)]
    texts = [*ids, "nightly", "weekly", "nightly@latest", "weekly@latest", *digests, *selected, *days, *PARTS, *ODD]
    expected = {text: looked_up(text, packages, prefer_open=prefer_open) for text in texts}
    assert {text: await asked(text, store, prefer_open=prefer_open) for text in texts} == expected
    found = {outcome.found for outcome in expected.values()}
    assert len(found) > 6


@pytest.mark.parametrize("within", [("weekly",), ("nightly", "x"), ("[v-x]eek*",), ()], ids=repr)
async def test_with_globs_the_other_packages_are_as_if_they_were_not_there(
    store: EventStore, scribe: Scribe, within: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "LISTED_AT_ONCE", 2)  # so that the search continues after rejected packages
    packages = await fill(store, scribe)
    visible = [each for each in packages if PackageFilter(within=within).matches_name(each.name)]
    texts = [*(each.package_id for each in packages), "nightly", "weekly", "nightly@{1}", *digests_of(packages)]
    texts += [*PARTS, "release", "tag:release", "tag:é", "weekly~", "nightly~"]
    assert {text: await asked(text, store, within=within) for text in texts} == {
        text: looked_up(text, visible) for text in texts
    }
    tags = [each for each in await store.tags(after="", limit=9) if each.package_id in {p.package_id for p in visible}]
    assert await store.tags(after="", limit=9, within=within) == tags
