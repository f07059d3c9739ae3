"""Collection without a store: which objects of a list must go, and what the release of entries makes true."""

import pytest

from artifactstore_protocols.collection import sort_listed
from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import EntriesReleased, FilesIngested, ObjectsCondemned
from artifactstore_protocols.packages import PackageNotFound, ProjectionDamaged
from artifactstore_protocols.releasing import ReleaseEntries
from artifactstore_protocols.state import ObjectState
from artifactstore_protocols.storage import ListedObject, Place
from artifactstore_protocols.views import FILES, PACKAGES
from command_strategies import Create, Delete, FileStep, Ingest, LetGo, package_id_of, place_of
from memory_log import MemoryLog

KEYS = [place_of(content, 1).object_key for content in (b"x", b"yy", b"zz")]


def test_bytes_without_a_row_are_orphans_by_age_and_other_keys_are_let_be() -> None:
    listed = [
        ListedObject(KEYS[0], 1, 9.0),
        ListedObject(KEYS[1], 2, 10.0),
        ListedObject("notes/readme", 3, 1e9),
        ListedObject("blake3/00/00/not-a-digest", 3, 1e9),
        ListedObject(f"sha256/{'00'}/{'00'}/{'00' * 32}", 3, 1e9),
    ]
    found = sort_listed("local", listed, {}, 10.0)
    assert found == (((Place("local", KEYS[1]), 2),), (), ())


@pytest.mark.parametrize(
    ("state", "goes"), [("live", None), ("condemned", None), ("retired", "retired"), ("removed", "late")]
)
def test_bytes_with_a_row_go_only_if_their_key_is_retired_or_removed(state: ObjectState, goes: str | None) -> None:
    place = Place("local", KEYS[0])
    states: dict[Place, ObjectState] = {place: state}
    found = sort_listed("local", [ListedObject(KEYS[0], 1, 1e9)], states, 0.0)._asdict()
    assert {name for name, objects in found.items() if objects} == ({goes} if goes else set())
    elsewhere: dict[Place, ObjectState] = {Place("s3", KEYS[0]): state}
    assert sort_listed("local", [ListedObject(KEYS[0], 1, 1e9)], elsewhere, 0.0).orphans == ((place, 1),)


def filled() -> MemoryLog:
    """Two packages: one holds `x` twice, `yy` and a link, the other `yy`."""
    log = MemoryLog()
    files = FileStep("a", b"x", False), FileStep("b", b"yy", False), FileStep("c", b"", False, 1, "link")
    for step in (
        Create(1, "standard", {}),
        Create(2, "standard", {}),
        Ingest(1, files, OnExisting.REFUSE),
        Ingest(2, (FileStep("d", b"yy", False), FileStep("e", b"x", True)), OnExisting.REFUSE),
    ):
        assert log.ask(step) is None
    return log


def released(log: MemoryLog, first: str, last: str) -> list[object]:
    before = len(log.events)
    assert log.ask(LetGo(1, first, last)) is None
    return [stored.decode() for stored in log.events[before:]]


def test_only_a_package_that_is_gone_lets_go_of_its_entries() -> None:
    log = filled()
    assert isinstance(log.ask(LetGo(1, "a", "c")), InvalidValue)
    assert isinstance(log.ask(LetGo(9, "a", "c")), PackageNotFound)
    with pytest.raises(InvalidValue):
        ReleaseEntries(package_id_of(1), "b", "a")


def test_what_loses_its_last_entry_is_condemned_in_the_same_command() -> None:
    log = filled()
    for package in (1, 2):
        assert log.ask(Delete(package, False)) is None
    number = log.state.packages[package_id_of(1)].number
    assert released(log, "a", "b") == [EntriesReleased(package_id_of(1), number, "a", "b", 0, 1, 0, 0)]
    assert log.ask(LetGo(2, "a", "d")) is None
    condemned = log.events[-1].decode()
    assert condemned == ObjectsCondemned((place_of(b"yy"),), "package deleted")
    assert released(log, "a", "b") == [], "they are released"
    assert released(log, "b", "z") == [EntriesReleased(package_id_of(1), number, "c", "c", 0, 0, 0, 0)]
    rows = {row["package_id"]: row for row in log.views.rows(PACKAGES)}
    assert (rows[package_id_of(1)]["link_count"], rows[package_id_of(2)]["file_count"]) == (0, 1)
    assert [row["path_key"] for row in log.views.rows(FILES)] == ["e"]
    assert log.ask(LetGo(2, "e", "e")) is None
    assert log.events[-1].decode() == ObjectsCondemned((place_of(b"x"),), "package deleted")


def test_a_released_content_comes_back_without_new_bytes() -> None:
    log = filled()
    for step in (Delete(1, False), Delete(2, False), LetGo(1, "a", "c"), LetGo(2, "a", "z"), Create(3, "standard", {})):
        assert log.ask(step) is None
    assert log.ask(Ingest(3, (FileStep("f", b"x", False),), OnExisting.REFUSE)) is None
    assert isinstance(log.events[-1].decode(), FilesIngested)
    assert {held.state for held in log.state.objects[FileStep("f", b"x", False).ingested().entry.digest].values()} == {
        "live"
    }


def test_nothing_is_released_while_entries_and_the_log_disagree() -> None:
    log = filled()
    assert log.ask(Delete(1, False)) is None
    assert log.ask(Delete(2, False)) is None
    assert log.ask(LetGo(2, "a", "z")) is None
    log.state.references[log.state.packages[package_id_of(1)].entries["a"].digest] -= 1
    before = len(log.events)
    assert isinstance(log.ask(LetGo(1, "a", "c")), ProjectionDamaged)
    assert len(log.events) == before
