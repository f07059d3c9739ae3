"""The rules of putting files into a package by name: totals, taken paths, trees, limits and healing."""

from dataclasses import replace

import pytest

from artifactstore_protocols.commands import IngestedFile, OnExisting
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.packages import (
    Draft,
    Facts,
    FileState,
    PackageFinalizedAlready,
    PackageNotFound,
    PackageState,
    PathConflict,
    PathTaken,
    TooManyFiles,
    decide,
)
from artifactstore_protocols.payloads import FileIngested, FileReplaced, ObjectHealed
from command_strategies import (
    BACKEND_ID,
    address_of,
    created,
    finalized,
    ingest,
    ingested,
    opened,
    package_id_of,
)

FIRST, SECOND = package_id_of(1), package_id_of(2)
NFC, NFD = "é", "e\u0301"
MANY = 1000


def ingested_drafts(facts: Facts, *files: tuple[str, bytes], on_existing: OnExisting) -> list[Draft]:
    command = ingest(*(ingested(path, content) for path, content in files), on_existing=on_existing)
    return list(decide(command, facts, files_per_package_max=MANY))


def test_a_file_is_ingested_with_all_that_is_known_of_it() -> None:
    facts = opened()
    file = replace(ingested(f"{NFD}/run", b"yy", executable=True), media_type="text/x-c")
    (draft,) = decide(ingest(file), facts, files_per_package_max=MANY)
    address = address_of(b"yy")
    assert draft.event_id == file.event_id
    assert draft.subject == FIRST
    assert draft.payload == FileIngested(
        package_id=FIRST,
        package_version=2,
        package_files=1,
        package_bytes=2,
        path=f"{NFD}/run",
        path_key=f"{NFC}/run",
        size_bytes=2,
        executable=True,
        media_type="text/x-c",
        content_address=str(address),
        sha256=f"sha256:{file.digests.sha256.hex}",
        backend_id=BACKEND_ID,
        object_key=first_key(address),
        retrieval_tier="immediate",
        restore_status="not_required",
    )
    sha256 = f"sha256:{file.digests.sha256.hex}"
    assert facts == Facts(
        packages={FIRST: PackageState(FIRST, False, 2, 1, 2)},
        files={(FIRST, f"{NFC}/run"): FileState(f"{NFD}/run", 2, True, "text/x-c", str(address), sha256)},
        directories={(FIRST, NFC): f"{NFD}/run"},
    )


def test_totals_count_every_file_of_a_command_and_equal_contents_each_time() -> None:
    facts = opened(("a", b"x"))
    drafts = ingested_drafts(facts, ("b", b"x"), ("c", b""), ("d", b"yy"), on_existing=OnExisting.REFUSE)
    payloads = [draft.payload for draft in drafts]
    totals = [
        (payload.package_version, payload.package_files, payload.package_bytes)
        for payload in payloads
        if isinstance(payload, FileIngested)
    ]
    assert totals == [(3, 2, 2), (4, 3, 2), (5, 4, 4)]
    assert facts.packages[FIRST] == PackageState(FIRST, False, 5, 4, 4)


def test_an_ingest_of_nothing_says_nothing() -> None:
    facts = opened()
    assert decide(ingest(), facts, files_per_package_max=MANY) == ()
    assert facts == opened()


def test_nothing_is_ingested_into_a_package_that_is_not_there() -> None:
    with pytest.raises(PackageNotFound, match="artifactstore package list") as refused:
        decide(ingest(ingested("a"), package=2), opened(), files_per_package_max=MANY)
    assert refused.value.package == SECOND


@pytest.mark.parametrize("on_existing", OnExisting)
@pytest.mark.parametrize("files", [(), (ingested("a", b"x"),), (ingested("b"),)], ids=["none", "same", "other"])
def test_a_finalised_package_takes_no_more_files(files: tuple[IngestedFile, ...], on_existing: OnExisting) -> None:
    with pytest.raises(PackageFinalizedAlready, match="create a new package") as refused:
        decide(ingest(*files, on_existing=on_existing), finalized(), files_per_package_max=MANY)
    assert refused.value.package_id == FIRST


@pytest.mark.parametrize("content", [b"x", b"yy"], ids=["same", "other"])
def test_refuse_refuses_a_taken_path_whatever_is_there(content: bytes) -> None:
    with pytest.raises(PathTaken, match="has a file at 'a' already; ask for replace") as refused:
        ingested_drafts(opened(("a", b"x")), ("a", content), on_existing=OnExisting.REFUSE)
    assert (refused.value.package_id, refused.value.path, refused.value.existing) == (FIRST, "a", "a")


@pytest.mark.parametrize("on_existing", [OnExisting.RESUME, OnExisting.REPLACE])
def test_the_same_file_again_is_passed_over(on_existing: OnExisting) -> None:
    facts = opened(("a", b"x"), ("b", b""))
    (draft,) = ingested_drafts(facts, ("a", b"x"), ("c", b"yy"), ("b", b""), on_existing=on_existing)
    assert isinstance(draft.payload, FileIngested)
    assert draft.payload.path == "c"
    assert facts.packages[FIRST] == PackageState(FIRST, False, 4, 3, 3)


OTHERS = {
    "content": ingested("a", b"yy"),
    "executable": ingested("a", b"x", executable=True),
    "media type": ingested("a", b"x", media_type="text/html"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_resume_refuses_another_file_at_the_path(other: IngestedFile) -> None:
    with pytest.raises(PathTaken):
        decide(ingest(other, on_existing=OnExisting.RESUME), opened(("a", b"x")), files_per_package_max=MANY)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_replace_lets_another_file_take_the_place(other: IngestedFile) -> None:
    facts = opened(("a", b"x"), ("b", b"yy"))
    (draft,) = decide(ingest(other, on_existing=OnExisting.REPLACE), facts, files_per_package_max=MANY)
    assert isinstance(draft.payload, FileReplaced)
    assert draft.payload.replaced_content_address == str(address_of(b"x"))
    assert draft.payload.content_address == str(other.digests.content_address)
    total = 2 + other.size_bytes
    assert (draft.payload.package_version, draft.payload.package_files, draft.payload.package_bytes) == (4, 2, total)
    assert facts.packages[FIRST] == PackageState(FIRST, False, 4, 2, total)
    assert facts.files[FIRST, "a"] == FileState(
        "a",
        other.size_bytes,
        other.executable,
        other.media_type,
        str(other.digests.content_address),
        f"sha256:{other.digests.sha256.hex}",
    )


def test_one_command_can_replace_its_own_file() -> None:
    facts = opened()
    drafts = ingested_drafts(facts, ("a", b"x"), ("a", b"yy"), ("a", b"yy"), on_existing=OnExisting.REPLACE)
    assert [type(draft.payload) for draft in drafts] == [FileIngested, FileReplaced]
    assert facts.packages[FIRST] == PackageState(FIRST, False, 3, 1, 2)


@pytest.mark.parametrize("on_existing", OnExisting)
@pytest.mark.parametrize(("first", "second"), [(NFC, NFD), (NFD, NFC), (f"d/{NFD}", f"d/{NFC}")])
def test_a_path_equal_under_nfc_is_taken_even_for_the_same_file(
    first: str, second: str, on_existing: OnExisting
) -> None:
    with pytest.raises(PathTaken, match="the same path under Unicode NFC; rename one") as refused:
        ingested_drafts(opened((first, b"x")), (second, b"x"), on_existing=on_existing)
    assert (refused.value.path, refused.value.existing) == (second, first)


def test_a_path_is_taken_in_its_own_package_only() -> None:
    facts = opened(("a", b"x"))
    decide(created(2), facts, files_per_package_max=MANY)
    decide(ingest(ingested("a/b"), package=2), facts, files_per_package_max=MANY)
    assert set(facts.files) == {(FIRST, "a"), (SECOND, "a/b")}


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
        ingested_drafts(opened((first, b"x")), (second, b"x"), on_existing=on_existing)
    assert (refused.value.package_id, refused.value.path, refused.value.existing) == (FIRST, second, first)


@pytest.mark.parametrize(("first", "second"), CONFLICTS)
def test_nor_within_one_command(first: str, second: str) -> None:
    with pytest.raises(PathConflict):
        ingested_drafts(opened(), (first, b"x"), (second, b"x"), on_existing=OnExisting.REPLACE)


def test_names_that_only_start_alike_stand_beside_one_another() -> None:
    facts = opened(("a/b", b""), ("a-b", b""), ("a.b", b""), ("ab", b""), ("a/b.c", b""), ("a/bc/d", b""))
    assert facts.packages[FIRST].file_count == 6


def test_a_package_takes_as_many_files_as_the_limit_says() -> None:
    facts = opened(("a", b""))
    decide(ingest(ingested("b")), facts, files_per_package_max=2)
    with pytest.raises(TooManyFiles, match="more than 2 files; split it") as refused:
        decide(ingest(ingested("c")), facts, files_per_package_max=2)
    assert (refused.value.package_id, refused.value.limit) == (FIRST, 2)


def test_a_command_that_passes_the_limit_is_refused_as_a_whole() -> None:
    with pytest.raises(TooManyFiles):
        decide(ingest(ingested("a"), ingested("b"), ingested("c")), opened(), files_per_package_max=2)


def test_at_the_limit_files_can_still_be_replaced_and_resumed() -> None:
    facts = opened(("a", b""), ("b", b""))
    files = (ingested("a", b"x"), ingested("b"))
    drafts = decide(ingest(*files, on_existing=OnExisting.REPLACE), facts, files_per_package_max=2)
    assert [type(draft.payload) for draft in drafts] == [FileReplaced]


def test_beyond_a_limit_that_was_lowered_later_files_can_still_be_replaced() -> None:
    facts = opened(("a", b""), ("b", b""))
    command = ingest(ingested("a", b"x"), on_existing=OnExisting.REPLACE)
    assert [type(draft.payload) for draft in decide(command, facts, files_per_package_max=1)] == [FileReplaced]


def test_a_rewritten_object_is_healed_after_its_file_is_there() -> None:
    file = ingested("a", b"x", outcome="rewritten")
    drafts = decide(ingest(file), opened(), files_per_package_max=MANY)
    assert [type(draft.payload) for draft in drafts] == [FileIngested, ObjectHealed]
    address = str(address_of(b"x"))
    assert drafts[1] == Draft(file.healed_event_id, address, ObjectHealed(address, BACKEND_ID))


def test_the_same_file_again_heals_its_object_and_leaves_the_package_alone() -> None:
    facts = opened(("a", b"x"))
    file = ingested("a", b"x", outcome="rewritten")
    (draft,) = decide(ingest(file, on_existing=OnExisting.RESUME), facts, files_per_package_max=MANY)
    assert isinstance(draft.payload, ObjectHealed)
    assert facts == opened(("a", b"x"))


def test_a_replacement_heals_the_new_object_not_the_old_one() -> None:
    file = ingested("a", b"yy", outcome="rewritten")
    command = ingest(file, on_existing=OnExisting.REPLACE)
    drafts = decide(command, opened(("a", b"x")), files_per_package_max=MANY)
    assert [type(draft.payload) for draft in drafts] == [FileReplaced, ObjectHealed]
    assert drafts[1].subject == str(address_of(b"yy"))


def test_objects_that_were_stored_or_found_need_no_healing() -> None:
    files = (ingested("a", b"x", outcome="stored"), ingested("b", b"x", outcome="deduplicated"))
    drafts = decide(ingest(*files), opened(), files_per_package_max=MANY)
    assert [type(draft.payload) for draft in drafts] == [FileIngested, FileIngested]
