"""What every event store answers from its views."""

import pytest

from artifactstore_protocols import manifest
from artifactstore_protocols.commands import IngestFiles, OnExisting, RegisterMetadataSchema, SetTag
from artifactstore_protocols.entries import directory_entry, link_entry
from artifactstore_protocols.event_store import READ_BYTES_MAX, EventStore, Location
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import FileRecord, MetadataSchema, PackageRecord, Tag
from artifactstore_protocols.retention import RETENTION_CLASSES
from artifactstore_protocols.storage import KnownObject, Place
from command_strategies import (
    BACKEND_ID,
    Create,
    FileStep,
    Finalize,
    Find,
    Ingest,
    Step,
    address_of,
    created,
    digests_of,
    ingest,
    ingested,
    package_id_of,
    place_of,
)
from database_tools import ACTOR, EPOCH_US, Scribe
from memory_log import MemoryLog

_PATH = "e\u0301/naïve.txt"
_STORY: list[Step] = [
    Create(1, "short", {"branch": "main"}),
    Ingest(1, (FileStep(_PATH, b"x", True), FileStep("a", b"yy", False)), OnExisting.REFUSE),
    Create(2, "permanent", {}),
    Ingest(2, (FileStep("copy", b"x", False), FileStep("new", b"zzz", False)), OnExisting.REFUSE),
    Finalize(1, late=False),
]


async def tell(scribe: Scribe) -> MemoryLog:
    memory = MemoryLog()
    for step in _STORY:
        command = memory.command(step)
        memory.commit(command)
        await scribe.tell(command)
    return memory


async def test_a_package_is_found_by_its_id(store: EventStore, scribe: Scribe) -> None:
    memory = await tell(scribe)
    finalized = memory.manifest(package_id_of(1))
    open_ = await store.package(package_id_of(2))
    assert open_ == PackageRecord(
        package_id=package_id_of(2),
        name="nightly",
        status="open",
        version=2,
        files=2,
        links=0,
        directories=0,
        bytes=4,
        retention_class="permanent",
        retention_duration_us=None,
        expires_at_us=None,
        metadata={},
        created_by=ACTOR,
        created_at_us=EPOCH_US + 3,
        finalized_at_us=None,
        manifest_digest=None,
        tree_digest=None,
        created_sequence=5,
        finalized_sequence=None,
    )
    closed = await store.package(package_id_of(1))
    assert (closed.status, closed.finalized_sequence, closed.metadata) == ("finalized", 8, {"branch": "main"})
    assert closed.tree_digest == finalized.provenance.tree_digest
    assert closed.finalized_at_us is not None
    assert closed.retention_duration_us == RETENTION_CLASSES["short"].duration_us
    assert closed.expires_at_us == closed.finalized_at_us + 30 * 86_400_000_000


async def test_tags_come_in_pages(store: EventStore, scribe: Scribe) -> None:
    memory = await tell(scribe)
    first = package_id_of(1)
    await scribe.tell(SetTag("b", first, protected=True), SetTag("é", first), SetTag("B", first))
    found = [*await store.tags(after="", limit=2), *await store.tags(after="b", limit=2)]
    assert [each.tag for each in found] == ["B", "b", "é"]  # bytewise
    at = len(memory.events)
    assert found[1] == Tag("b", first, True, ACTOR, EPOCH_US + 6, at + 1)
    assert await store.tag("b") == found[1]
    assert await store.tag("c") is None
    assert list(await store.tags(after="é", limit=2)) == []


async def test_files_are_listed_by_path_and_found_by_key(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe)
    digests = digests_of(b"x")
    expected = FileRecord(
        package_id=package_id_of(1),
        path=_PATH,
        kind="file",
        size_bytes=1,
        executable=True,
        media_type="text/plain",
        content_address=str(digests.content_address),
        sha256=f"sha256:{digests.sha256.hex}",
        target="",
        sequence=4,
    )
    assert await store.file(package_id_of(1), path_key(_PATH)) == expected
    assert await store.file(package_id_of(1), "nowhere") is None
    package, files = await store.files(package_id_of(1))
    assert package == await store.package(package_id_of(1))
    assert [file.path for file in files] == ["a", _PATH]
    assert files[1] == expected


async def test_entries_of_every_kind_are_listed_in_the_order_of_trees(store: EventStore, scribe: Scribe) -> None:
    file = ingested("a/f", b"x", executable=True)
    others = (link_entry("a.b", "a/f"), link_entry("a/e\u0301", "../gone"), directory_entry("a/a"))
    command = IngestFiles(package_id_of(1), (file.entry, *others), (file.stored,), OnExisting.REFUSE)
    await scribe.send(scribe.ask(created(1)), scribe.ask(command), files_per_package_max=4)
    held, listed = await store.files(package_id_of(1))
    shown = [(entry.path, entry.kind, entry.size_bytes, entry.media_type, entry.target) for entry in listed]
    assert shown == [
        ("a/a", "directory", 0, "", ""),
        ("a/f", "file", 1, "text/plain", ""),
        ("a/e\u0301", "link", 0, "", "../gone"),
        ("a.b", "link", 0, "", "a/f"),
    ]
    assert [(entry.content_address, entry.sha256) for entry in listed if entry.kind != "file"] == [("", "")] * 3
    assert [await store.file(package_id_of(1), path_key(entry.path)) for entry in listed] == listed
    assert (held.files, held.links, held.directories, held.bytes) == (1, 2, 1, 1)
    contents, digests = await store.contents(package_id_of(1)), digests_of(b"x")
    assert contents.package == held
    assert sorted(contents.entries) == sorted(
        (
            manifest.DirectoryEntry("directory", "a/a"),
            manifest.FileEntry("file", "a/f", True, 1, "text/plain", digests.primary.raw, digests.sha256.raw),
            manifest.LinkEntry("link", "a/e\u0301", "../gone"),
            manifest.LinkEntry("link", "a.b", "a/f"),
        )
    )
    assert await store.location_totals(package_id=package_id_of(1)) == (1, 1)
    assert await store.deduplicated_bytes(package_id_of(1)) == 0


async def test_contents_are_what_a_manifest_is_made_from(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe)
    open_ = await store.contents(package_id_of(2))
    assert open_.package == await store.package(package_id_of(2))
    assert [file.path for file in open_.entries] == ["copy", "new"]
    digests = sorted(address_of(content).digest.raw for content in (b"x", b"zzz"))
    assert sorted(receipt.digest for receipt in open_.receipts) == digests
    assert open_.digest_algorithms == {"blake3"}
    finalized = await store.contents(package_id_of(1))
    assert finalized.package.status == "finalized"
    assert [entry.path for entry in finalized.entries] == ["a", _PATH]


async def test_a_manifest_is_the_finalizing_event_s_payload(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe)
    assert await store.manifest_bytes(package_id_of(2)) is None
    payload = await store.manifest_bytes(package_id_of(1))
    assert payload is not None
    assert [file.path for file in manifest.decode(payload).files] == ["a", _PATH]


async def test_two_packages_are_compared_path_by_path(store: EventStore, scribe: Scribe) -> None:
    first = [
        ingested("same", b"s"),
        ingested("a", b"x"),
        ingested("bit", b"x"),
        ingested("gone", b"g"),
        ingested("é", b""),
    ]
    second = [
        ingested("same", b"s", media_type="text/html"),
        ingested("a", b"yy"),
        ingested("bit", b"x", executable=True),
        ingested("new", b"n"),
        ingested("e\u0301", b""),
    ]
    await scribe.tell(created(1), created(2))
    await scribe.send(scribe.ask(ingest(*first)), files_per_package_max=9)
    await scribe.send(scribe.ask(ingest(*second, package=2)), files_per_package_max=9)
    entries = (link_entry("link", "a"), directory_entry("d")), (link_entry("link", "b"), directory_entry("d"))
    for number, each in enumerate(entries, 1):
        command = IngestFiles(package_id_of(number), each, (), OnExisting.REFUSE)
        await scribe.send(scribe.ask(command), files_per_package_max=9)
    ids = package_id_of(1), package_id_of(2)
    found = await store.differences(*ids)
    paths = sorted((before.path, after.path) for before, after in found if before is not None and after is not None)
    assert paths == [("a", "a"), ("bit", "bit"), ("link", "link"), ("é", "e\u0301")]
    assert [before.path for before, after in found if before is not None and after is None] == ["gone"]
    assert [after.path for before, after in found if after is not None and before is None] == ["new"]
    known = {(package_id, file.path): file for package_id in ids for file in (await store.files(package_id))[1]}
    for pair in found:
        for entry in pair:
            assert entry is None or known[entry.package_id, entry.path] == entry
    assert list(await store.differences(ids[0], ids[0])) == []
    with pytest.raises(PackageNotFound):
        await store.differences(ids[0], package_id_of(9))


async def test_a_package_that_is_not_there_is_said_to_be_missing(store: EventStore) -> None:
    nowhere = package_id_of(9)
    for question in (
        store.package(nowhere),
        store.contents(nowhere),
        store.file(nowhere, "a"),
        store.files(nowhere),
        store.manifest_bytes(nowhere),
        store.find_package(nowhere),
    ):
        with pytest.raises(PackageNotFound) as caught:
            await question
        assert caught.value.package == nowhere


async def test_objects_come_once_each_in_order_and_in_pages(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe)
    sizes = {str(address_of(content)): len(content) for content in (b"x", b"yy", b"zzz")}
    for package_id, wanted in ((None, (b"x", b"yy", b"zzz")), (package_id_of(2), (b"x", b"zzz"))):
        seen: list[Location] = []
        after = ""
        while page := await store.locations(package_id=package_id, after=after, limit=1):
            seen += page
            after = page[-1].content_address
        assert [location.content_address for location in seen] == sorted(str(address_of(each)) for each in wanted)
        assert all(location.size_bytes == sizes[location.content_address] for location in seen)
        total = sum(map(len, wanted))
        assert await store.location_totals(package_id=package_id) == (len(wanted), total)
    first = next(iter(await store.locations(package_id=package_id_of(2), after="", limit=1)))
    address = min(address_of(b"x"), address_of(b"zzz"), key=str)
    assert (first.backend_id, first.object_key, first.integrity) == (BACKEND_ID, first_key(address), "intact")


async def test_an_empty_store_has_no_objects(store: EventStore) -> None:
    assert await store.location_totals(package_id=None) == (0, 0)
    assert list(await store.locations(package_id=None, after="", limit=9)) == []


async def test_files_with_a_content_are_named_in_order_of_their_coming(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe)
    address = str(address_of(b"x"))
    named = [f"{package_id_of(1)}/{_PATH}", f"{package_id_of(2)}/copy"]
    assert list(await store.files_with_content(address, limit=9)) == named
    assert list(await store.files_with_content(address, limit=1)) == named[:1]


async def test_bytes_that_were_there_before_are_counted(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe)
    assert await store.deduplicated_bytes(package_id_of(1)) == 0
    assert await store.deduplicated_bytes(package_id_of(2)) == 1
    assert await store.deduplicated_bytes(package_id_of(9)) == 0


async def test_flagged_objects_are_listed_until_they_are_repaired(store: EventStore, scribe: Scribe) -> None:
    memory = await tell(scribe)
    assert await store.flagged_objects() == {}
    known = await store.known_objects([address_of(b"x"), address_of(b"nowhere")])
    assert list(known) == [address_of(b"x")]
    assert known[address_of(b"x")] == KnownObject(address_of(b"x"), 1, Place(BACKEND_ID, first_key(address_of(b"x"))))
    assert await store.flagged_counts() == {}
    await scribe.tell(memory.command(Find(((b"x", "damaged"), (b"yy", "missing")))))
    assert await store.flagged_objects() == {address_of(each): place_of(each, 2) for each in (b"x", b"yy")}
    assert await store.flagged_counts() == {"damaged": 1, "missing": 1}
    await scribe.tell(ingest(ingested("again", b"x", generation=2), package=2))
    assert await store.flagged_objects() == {address_of(b"yy"): place_of(b"yy", 2)}
    repaired = KnownObject(address_of(b"x"), 1, place_of(b"x", 2))
    assert await store.known_objects([address_of(b"x")]) == {repaired.address: repaired}
    assert [at.known for at in await store.locations(package_id=None, after="", limit=9)].count(repaired) == 1
    assert await store.flagged_counts() == {"missing": 1}


async def test_the_latest_version_of_a_schema_is_given(store: EventStore, scribe: Scribe) -> None:
    assert await store.metadata_schema("build") is None
    await scribe.tell(*(RegisterMetadataSchema("build", f'{{"minLength":{i}}}') for i in range(1, 12)))
    assert await store.metadata_schema("build") == MetadataSchema("build", 11, '{"minLength":11}')
    assert await store.metadata_schema("build", 2) == MetadataSchema("build", 2, '{"minLength":2}')
    assert await store.metadata_schema("build", 12) is None
    page = await store.metadata_schemas(after=("build", 9), limit=9)
    assert [(each.name, each.version) for each in page] == [("build", 10), ("build", 11)]


async def test_events_are_read_in_pages_and_by_subject(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe)
    assert [stored.sequence for stored in await store.read_events(after=2, limit=3)] == [3, 4, 5]
    assert list(await store.read_events(after=8, limit=3)) == []
    about = [
        [stored.sequence for stored in await store.read_events(after=after, limit=limit, subject=package_id_of(1))]
        for after, limit in ((0, 9), (3, 9), (0, 2))
    ]
    assert about == [[2, 4, 8], [4, 8], [2, 4]]


@pytest.mark.slow
async def test_no_reader_of_events_is_bounded_by_their_number_alone(store: EventStore, scribe: Scribe) -> None:
    metadata = {f"{number:03}": "x" * 4000 for number in range(16)}  # nearly the most that a package may have
    packages = range(1, 2 + READ_BYTES_MAX // (16 * 4000))
    for package in packages:
        await scribe.tell(created(package, metadata=metadata))
    first = await store.read_events(after=0, limit=1000)
    assert READ_BYTES_MAX // 2 < sum(len(stored.event.payload) for stored in first) <= READ_BYTES_MAX
    rest = await store.read_events(after=len(first), limit=1000)
    assert [stored.sequence for stored in (*first, *rest)] == list(range(1, 2 + len(packages)))


async def test_a_page_of_events_is_bounded_by_what_they_weigh(store: EventStore, scribe: Scribe) -> None:
    await tell(scribe)
    sizes = [len(stored.event.payload) for stored in await store.read_events(after=0, limit=9)]
    for bytes_max, expected in (
        (sum(sizes), [1, 2, 3, 4, 5, 6, 7, 8]),
        (sum(sizes[:3]), [1, 2, 3]),
        (sum(sizes[:3]) - 1, [1, 2]),
        (0, [1]),
    ):
        page = await store.read_events(after=0, limit=9, bytes_max=bytes_max)
        assert [stored.sequence for stored in page] == expected
    page = await store.read_events(after=3, limit=9, subject=package_id_of(1), bytes_max=sizes[3] + sizes[7])
    assert [stored.sequence for stored in page] == [4, 8]
    assert list(await store.read_events(after=8, limit=9, bytes_max=1)) == []


async def test_a_store_says_where_it_is_and_how_far_its_log_goes(store: EventStore, scribe: Scribe) -> None:
    assert (await store.probe()).head == 0
    await tell(scribe)
    assert (await store.probe()).head == 8
    assert store.name
    await store.close()
    await store.open()
    assert (await store.probe()).head == 8
