"""The rules of putting entries into a package: totals, taken paths, trees, limits, contents and repairing."""

import pytest
from msgspec.structs import replace

from artifactstore_protocols.commands import ENTRIES_MAX, OnExisting
from artifactstore_protocols.entries import Entry, Place, directory_entry, file_entry, link_entry
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_types import FilesIngested, ObjectsCondemned, ObjectsStored, Payload, Totals
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.judging import decide
from artifactstore_protocols.packages import (
    ObjectsNotStored,
    PackageFinalizedAlready,
    PackageNotFound,
    PathConflict,
    PathTaken,
    TooManyFiles,
)
from artifactstore_protocols.state import LogState
from command_strategies import (
    Ingested,
    address_of,
    created,
    evolved,
    finalized,
    ingest,
    ingested,
    opened,
    package_id_of,
    place_of,
    stored_object,
)

FIRST, SECOND = package_id_of(1), package_id_of(2)
NFC, NFD = "é", "e\u0301"
MANY = 1000


def decided(
    state: LogState, *entries: Entry | Ingested, on_existing: OnExisting = OnExisting.REFUSE, limit: int = MANY
) -> tuple[Payload, ...]:
    files = tuple(each if isinstance(each, Ingested) else Ingested(each, stored_object(b"")) for each in entries)
    return decide(ingest(*files, on_existing=on_existing), state, entries_max=limit)


def files(state: LogState, *paths: tuple[str, bytes], on_existing: OnExisting = OnExisting.REFUSE) -> FilesIngested:
    payloads = decided(state, *(ingested(path, content) for path, content in paths), on_existing=on_existing)
    payload = payloads[-1]
    assert isinstance(payload, FilesIngested)
    return payload


def test_a_command_is_one_event_for_its_new_objects_and_one_for_its_entries() -> None:
    state = opened()
    file = ingested(f"{NFD}/run", b"yy", executable=True, media_type="text/x-c")
    link, directory = link_entry("current", "a/run"), directory_entry("logs")
    payloads = decided(state, file, link, directory)
    assert payloads == (
        ObjectsStored(PRIMARY_ALGORITHM, (file.stored,)),
        FilesIngested(
            package_id=FIRST,
            package_number=1,
            totals=Totals(version=2, files=1, links=1, directories=1, total_bytes=2, stored_bytes=2),
            digest_algorithm=PRIMARY_ALGORITHM,
            entries=(file.entry, link, directory),
            path_keys=(f"{NFC}/run", "current", "logs"),
            replaced=frozenset(),
            removed=(),
        ),
    )


def test_equal_contents_are_stored_once_and_counted_each_time() -> None:
    stored, ingested_files = decided(
        opened(("a", b"x")), *(ingested(path, b"yy") for path in "bc"), ingested("d", b"x")
    )
    assert isinstance(stored, ObjectsStored)
    assert stored.objects == (stored_object(b"yy"),)
    assert isinstance(ingested_files, FilesIngested)
    assert ingested_files.totals == Totals(3, 4, 0, 0, 6, 3)


def test_a_content_that_the_store_has_needs_no_proof() -> None:
    [payload] = decide(replace(ingest(ingested("b", b"x")), stored=()), opened(("a", b"x")), entries_max=MANY)
    assert isinstance(payload, FilesIngested)


def test_a_content_that_is_not_there_is_refused_unless_the_command_brings_it() -> None:
    command = ingest(ingested("b", b"x"))
    with pytest.raises(ObjectsNotStored, match=r"the content of 'b' .* ingest the file again") as refused:
        decide(replace(command, stored=()), opened(), entries_max=MANY)
    assert (refused.value.contents, refused.value.next_places) == ((address_of(b"x"),), {})
    assert decide(command, opened(), entries_max=MANY)


def test_a_file_has_the_size_of_its_content() -> None:
    file = ingested("b", b"x")
    wrong = Ingested(file.entry._replace(size_bytes=2), file.stored)
    with pytest.raises(InvalidValue, match="size of 'b'"):
        decided(opened(), wrong)


def test_one_address_is_one_content() -> None:
    known = opened(("a", b"x"))
    file = ingested("b", b"x")
    for other in (file.stored._replace(sha256=bytes(32)), file.stored._replace(size_bytes=2)):
        twin = Ingested(file.entry._replace(size_bytes=other.size_bytes), other)
        with pytest.raises(InvalidValue, match=r"SHA-256|size"):
            decided(known, twin)
        with pytest.raises(InvalidValue, match=r"digest|size"):
            decided(opened(), Ingested(file.entry._replace(path="c"), file.stored), twin)


def test_an_object_at_another_place_is_news() -> None:
    file = ingested("b", b"x")
    elsewhere = file.stored._replace(place=Place("s3", file.stored.place.object_key))
    stored, _files = decided(opened(("a", b"x")), Ingested(file.entry, elsewhere))
    assert stored == ObjectsStored(PRIMARY_ALGORITHM, (elsewhere,))


def test_an_object_that_no_entry_needs_stays_an_orphan() -> None:
    command = ingest(ingested("a", b"x"), on_existing=OnExisting.RESUME)
    assert decide(replace(command, stored=(stored_object(b"yy"),)), opened(("a", b"x")), entries_max=MANY) == ()


def test_nothing_is_ingested_into_a_package_that_is_not_there() -> None:
    with pytest.raises(PackageNotFound, match="artifactstore package list") as refused:
        decide(ingest(ingested("a"), package=2), opened(), entries_max=MANY)
    assert refused.value.package == SECOND


@pytest.mark.parametrize("on_existing", OnExisting)
@pytest.mark.parametrize("file", [ingested("a", b"x"), ingested("b")], ids=["same", "other"])
def test_a_finalized_package_takes_no_more_entries(file: Ingested, on_existing: OnExisting) -> None:
    with pytest.raises(PackageFinalizedAlready, match="create a new package") as refused:
        decided(finalized(), file, on_existing=on_existing)
    assert refused.value.package_id == FIRST


@pytest.mark.parametrize("content", [b"x", b"yy"], ids=["same", "other"])
def test_refuse_refuses_a_taken_path_whatever_is_there(content: bytes) -> None:
    with pytest.raises(PathTaken, match="has 'a' already; ask for replace") as refused:
        files(opened(("a", b"x")), ("a", content))
    assert (refused.value.package_id, refused.value.path, refused.value.existing) == (FIRST, "a", "a")


@pytest.mark.parametrize("on_existing", [OnExisting.RESUME, OnExisting.REPLACE])
def test_the_same_entry_again_is_passed_over(on_existing: OnExisting) -> None:
    payload = files(opened(("a", b"x"), ("b", b"")), ("a", b"x"), ("c", b"yy"), ("b", b""), on_existing=on_existing)
    assert payload.path_keys == ("c",)
    assert payload.totals == Totals(3, 3, 0, 0, 3, 3)


OTHERS = {
    "content": ingested("a", b"yy"),
    "executable": ingested("a", b"x", executable=True),
    "media type": ingested("a", b"x", media_type="text/html"),
    "link": Ingested(link_entry("a", "b"), stored_object(b"")),
    "directory": Ingested(directory_entry("a"), stored_object(b"")),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_resume_refuses_another_entry_at_the_path(other: Ingested) -> None:
    with pytest.raises(PathTaken):
        decided(opened(("a", b"x")), other, on_existing=OnExisting.RESUME)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_replace_lets_another_entry_take_the_place(other: Ingested) -> None:
    state = opened(("a", b"x"), ("b", b"yy"))
    payloads = decided(state, other, on_existing=OnExisting.REPLACE)
    [(at, payload)] = [(at, each) for at, each in enumerate(payloads) if isinstance(each, FilesIngested)]
    lost = (ObjectsCondemned((place_of(b"x"),), "replaced"),)
    assert payloads[at + 1 :] == (() if other.entry.digest == stored_object(b"x").digest else lost)
    assert payload.replaced == {"a"}
    kind = other.entry.kind
    files = 1 + (kind == "file")
    sizes = 2 + other.entry.size_bytes, 3  # the package has stored the same contents
    assert payload.totals == Totals(3, files, kind == "link", kind == "directory", *sizes)


def test_a_path_stands_once_in_a_command() -> None:
    for first, second in [("a", "a"), (NFC, NFD)]:
        with pytest.raises(PathTaken):
            files(opened(), (first, b"x"), (second, b"x"), on_existing=OnExisting.REPLACE)


@pytest.mark.parametrize("on_existing", OnExisting)
@pytest.mark.parametrize(("first", "second"), [(NFC, NFD), (NFD, NFC), (f"d/{NFD}", f"d/{NFC}")])
def test_a_path_equal_under_nfc_is_taken_even_for_the_same_file(
    first: str, second: str, on_existing: OnExisting
) -> None:
    with pytest.raises(PathTaken, match="the same path under Unicode NFC; rename one") as refused:
        files(opened((first, b"x")), (second, b"x"), on_existing=on_existing)
    assert (refused.value.path, refused.value.existing) == (second, first)


def test_a_path_is_taken_in_its_own_package_only() -> None:
    state = evolved(opened(("a", b"x")), created(2), ingest(ingested("a/b"), package=2), after=3)
    assert (set(state.packages[FIRST].entries), set(state.packages[SECOND].entries)) == ({"a"}, {"a/b"})


CONFLICTS = [
    ("a", "a/b"),
    ("a", "a/b/c"),
    ("a/b", "a/b/c"),
    ("a/b", "a"),
    ("a/b/c", "a"),
    ("a/b/c", "a/b"),
    (NFC, f"{NFD}/x"),
    (f"{NFD}/x", NFC),
]


@pytest.mark.parametrize("on_existing", OnExisting)
@pytest.mark.parametrize(("first", "second"), CONFLICTS)
def test_no_path_is_a_file_and_a_directory_at_once(first: str, second: str, on_existing: OnExisting) -> None:
    with pytest.raises(PathConflict, match="a file and a directory at once") as refused:
        files(opened((first, b"x")), (second, b"x"), on_existing=on_existing)
    assert (refused.value.package_id, refused.value.path, refused.value.existing) == (FIRST, second, first)


@pytest.mark.parametrize(("first", "second"), CONFLICTS)
def test_nor_within_one_command(first: str, second: str) -> None:
    with pytest.raises(PathConflict):
        files(opened(), (first, b"x"), (second, b"x"), on_existing=OnExisting.REPLACE)


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a/b/c")])
def test_nothing_is_below_a_link(first: str, second: str) -> None:
    state = opened()
    command = replace(ingest(ingested("z")), entries=(link_entry(first, "z"),))
    with pytest.raises(PathConflict):
        files(evolved(state, command, after=1), (second, b"x"))


def test_an_empty_directory_ends_as_an_entry_when_something_is_put_into_it() -> None:
    state = evolved(opened(), replace(ingest(ingested("z")), entries=(directory_entry("a/b"),), stored=()), after=1)
    payload = files(state, ("a/b/c/d", b"x"), ("a/b/e", b""))
    assert payload.removed == ("a/b",)
    assert payload.totals == Totals(3, 2, 0, 0, 1, 1)


def test_a_directory_that_is_not_empty_is_no_entry() -> None:
    assert decided(opened(("a/b", b"x")), directory_entry("a"), on_existing=OnExisting.RESUME) == ()
    with pytest.raises(PathConflict):
        decided(opened(), directory_entry("a"), ingested("a/b"))


def test_names_that_only_start_alike_stand_beside_one_another() -> None:
    state = opened(("a/b", b""), ("a-b", b""), ("a.b", b""), ("ab", b""), ("a/b.c", b""), ("a/bc/d", b""))
    assert state.packages[FIRST].files == 6


def test_a_package_takes_as_many_entries_as_the_limit_says() -> None:
    state = opened(("a", b""))
    assert decided(state, link_entry("b", "a"), limit=2)
    with pytest.raises(TooManyFiles, match="more than 2 files, links and empty directories; split it") as refused:
        decided(state, link_entry("b", "a"), directory_entry("c"), limit=2)
    assert (refused.value.package_id, refused.value.limit) == (FIRST, 2)


@pytest.mark.parametrize("limit", [2, 1], ids=["at the limit", "beyond a limit that was lowered later"])
def test_entries_can_still_be_replaced_and_resumed(limit: int) -> None:
    state = opened(("a", b""), ("b", b""))
    _stored, payload = decided(state, ingested("a", b"x"), ingested("b"), on_existing=OnExisting.REPLACE, limit=limit)
    assert isinstance(payload, FilesIngested)
    assert payload.replaced == {"a"}


@pytest.mark.parametrize(
    "entry",
    [
        file_entry("a", 1, "text/plain", 0, bytes(32)),  # type: ignore[arg-type] # what a caller may do wrong
        file_entry("a", False, "text/plain; q=1", 0, bytes(32)),
        file_entry("a", False, "text/plain", -1, bytes(32)),
        file_entry("a", False, "text/plain", 0, bytes(31)),
        file_entry("../a", False, "text/plain", 0, bytes(32)),
        link_entry("a", "/etc/passwd"),
        link_entry("a", ""),
        link_entry("a", "x\n"),
        link_entry("a", "x" * 5000),
        directory_entry("a/"),
        Entry("directory", "a", target="x"),
        Entry("device", "a"),  # type: ignore[arg-type]
    ],
)
def test_an_entry_that_no_package_may_hold_is_no_command(entry: Entry) -> None:
    with pytest.raises(ArtifactStoreError, match=r"invalid|refused"):
        replace(ingest(ingested("a")), entries=(entry,))


def test_a_command_has_as_many_entries_as_an_event() -> None:
    entries = tuple(directory_entry(f"d{number}") for number in range(ENTRIES_MAX + 1))
    command = ingest(ingested("a"))
    assert len(replace(command, entries=entries[1:]).entries) == ENTRIES_MAX
    for wrong in (entries, (), tuple(link_entry(f"l{number}", "x" * 4000) for number in range(80))):
        with pytest.raises(InvalidValue, match="send the rest in others"):
            replace(command, entries=wrong)
