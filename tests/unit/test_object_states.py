"""The states of objects: what condemns, reprieves, supersedes, retires and removes them, and what then may be used."""

from collections.abc import Callable
from copy import deepcopy

import pytest

from artifactstore_protocols.admission import admit, examine
from artifactstore_protocols.commands import (
    IngestFiles,
    OnExisting,
    RemoveObjects,
    ReplaceObjects,
    RetireObjects,
    StoreObjects,
)
from artifactstore_protocols.entries import Place
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_types import (
    ObjectsCondemned,
    ObjectsReprieved,
    ObjectsRetired,
    ObjectsStored,
    Payload,
)
from artifactstore_protocols.events import EventRefused
from artifactstore_protocols.object_keys import first_key
from artifactstore_protocols.packages import ObjectsNotStored, ProjectionDamaged
from artifactstore_protocols.state import LogState
from artifactstore_protocols.views import LOCATIONS
from command_strategies import (
    LOG_BEGUN,
    Create,
    FileStep,
    Find,
    Ingest,
    Remove,
    Replace,
    Retire,
    Step,
    Upload,
    address_of,
    package_id_of,
    place_of,
    stored_events,
    stored_object,
)
from memory_log import MemoryLog


def put(path: str, content: bytes, generation: int = 1) -> Ingest:
    return Ingest(1, (FileStep(path, content, False, generation),), OnExisting.REPLACE)


CONDEMNED: list[Step] = [Create(1, "standard", {}), put("a", b"x"), put("a", b"yy")]
"""A package held `x` once, and holds `yy`."""
RETIRED: list[Step] = [*CONDEMNED, Retire(((b"x", 1),), "condemned")]
REMOVED: list[Step] = [*RETIRED, Remove(((b"x", 1),))]


def told(*steps: Step) -> MemoryLog:
    log = MemoryLog()
    for step in steps:
        assert log.ask(step) is None, step
    return log


def news(log: MemoryLog, step: Step) -> list[Payload]:
    """What a step makes true."""
    before = len(log.events)
    assert log.ask(step) is None
    return [stored.decode() for stored in log.events[before:]]


def refusal(log: MemoryLog, step: Step) -> ArtifactStoreError:
    refused = log.ask(step)
    assert refused is not None
    return refused


def states(log: MemoryLog, content: bytes = b"x") -> dict[str, str]:
    """Key to state, of all objects of a content."""
    places = log.state.objects.get(stored_object(content).digest, {})
    rows = {row["object_key"]: row["state"] for row in log.views.rows(LOCATIONS)}
    assert all(rows[place.object_key] == held.state for place, held in places.items())
    return {place.object_key.removeprefix(first_key(address_of(content))): held.state for place, held in places.items()}


def test_only_contents_that_no_package_refers_to_are_condemned() -> None:
    log = told(Create(1, "standard", {}), put("a", b"x"))
    [_stored, _files, condemned] = news(log, put("a", b"yy"))
    assert condemned == ObjectsCondemned((place_of(b"x"),), "replaced")
    assert (states(log), states(log, b"yy")) == ({"": "condemned"}, {"": "live"})


def test_a_content_that_another_path_or_package_holds_is_not_condemned_when_it_is_replaced() -> None:
    log = told(Create(1, "standard", {}), Create(2, "standard", {}), put("a", b"x"), put("b", b"x"))
    log.ask(Ingest(2, (FileStep("c", b"x", False),), OnExisting.REPLACE))
    assert len(news(log, put("a", b"yy"))) == 2
    assert len(news(log, put("b", b"yy"))) == 1
    assert states(log) == {"": "live"}
    [_files, condemned] = news(log, Ingest(2, (FileStep("c", b"yy", False),), OnExisting.REPLACE))
    assert isinstance(condemned, ObjectsCondemned)
    assert states(log) == {"": "condemned"}


def test_contents_that_change_places_in_one_command_are_not_condemned() -> None:
    log = told(Create(1, "standard", {}), put("a", b"x"), put("b", b"yy"))
    swapped = (FileStep("a", b"yy", False), FileStep("b", b"x", False))
    assert len(news(log, Ingest(1, swapped, OnExisting.REPLACE))) == 1


def test_a_replaced_content_whose_object_is_stored_again_is_condemned_at_its_new_key() -> None:
    log = told(Create(1, "standard", {}), put("a", b"x"), Find(((b"x", "damaged"),)))
    file, brought = FileStep("a", b"yy", False).ingested(), stored_object(b"x", 2)
    command = IngestFiles(package_id_of(1), (file.entry,), (file.stored, brought), OnExisting.REPLACE)
    assert log.commit(command) is None
    assert states(log) == {"": "retired", ".g2": "condemned"}


@pytest.mark.parametrize("brings", [True, False], ids=["with a receipt", "without"])
def test_a_commit_that_uses_a_condemned_content_reprieves_it(brings: bool) -> None:
    log = told(*CONDEMNED)
    file = FileStep("b", b"x", False).ingested()
    command = IngestFiles(package_id_of(1), (file.entry,), (file.stored,) if brings else (), OnExisting.REFUSE)
    before = len(log.events)
    assert log.commit(command) is None
    reprieved, _files = [stored.decode() for stored in log.events[before:]]
    assert reprieved == ObjectsReprieved((place_of(b"x"),))
    assert states(log) == {"": "live"}
    [row] = [row for row in log.views.rows(LOCATIONS) if row["digest_primary"] == file.entry.digest]
    assert (row["changed_at"], row["rule"]) == (None, None)


@pytest.mark.parametrize(("steps", "state"), [(RETIRED, "retired"), (REMOVED, "removed")])
def test_a_receipt_for_a_key_that_is_not_used_again_is_refused_and_one_for_the_next_key_is_not(
    steps: list[Step], state: str
) -> None:
    log = told(*steps)
    refused = refusal(log, put("b", b"x"))
    assert isinstance(refused, ObjectsNotStored)
    assert refused.next_places == {address_of(b"x"): place_of(b"x", 2)}
    [stored, _files] = news(log, put("b", b"x", 2))
    assert isinstance(stored, ObjectsStored)
    assert states(log) == {"": (steps is REMOVED and "removed") or "retired", ".g2": "live"}
    [ingested] = news(log, put("c", b"x"))
    assert ingested.entries[0].path == "c"  # type: ignore[union-attr] # a late put at a retired key names nothing


def test_a_flagged_object_is_superseded_at_its_next_key_and_its_flag_is_void() -> None:
    log = told(Create(1, "standard", {}), put("a", b"x"), Find(((b"x", "damaged"),)))
    refused = refusal(log, put("b", b"x"))
    assert isinstance(refused, ObjectsNotStored)
    assert refused.next_places == {address_of(b"x"): place_of(b"x", 2)}
    [stored, retired] = news(log, Ingest(1, (FileStep("a", b"x", False, 2),), OnExisting.RESUME))
    assert isinstance(stored, ObjectsStored)
    assert retired == ObjectsRetired((place_of(b"x"),), "superseded")
    assert states(log) == {"": "retired", ".g2": "live"}
    assert news(log, Find(((b"x", "missing"),))) == []


def test_a_later_generation_supersedes_an_earlier_one_that_nobody_has_flagged() -> None:
    """The bytes at the first key were other ones, or the ingest would not have gone to the second."""
    log = told(Create(1, "standard", {}), put("a", b"x"))
    [_stored, _files, retired] = news(log, put("b", b"x", 2))
    assert retired == ObjectsRetired((place_of(b"x"),), "superseded")
    assert states(log) == {"": "retired", ".g2": "live"}


def test_a_content_whose_later_receipt_is_retired_is_stored_again_though_an_earlier_object_seems_whole() -> None:
    log = told(Create(1, "standard", {}), put("a", b"x"), Retire(((b"x", 2),), "orphan"))
    refused = refusal(log, put("b", b"x", 2))
    assert isinstance(refused, ObjectsNotStored)
    assert refused.next_places == {address_of(b"x"): place_of(b"x", 3)}


def test_objects_are_replaced_outside_a_package_where_they_are_live() -> None:
    log = told(*CONDEMNED, Find(((b"yy", "missing"),)))
    [stored, retired] = news(log, Replace(((b"x", 2), (b"yy", 2))))
    assert stored == ObjectsStored("blake3", (stored_object(b"yy", 2),))
    assert retired == ObjectsRetired((place_of(b"yy"),), "superseded")


def put_elsewhere(path: str, content: bytes) -> Ingest:
    return Ingest(2, (FileStep(path, content, False),), OnExisting.REFUSE)


def refer(path: str, content: bytes) -> Ingest:
    return Ingest(1, (FileStep(path, content, False),), OnExisting.RESUME, by_reference=True)


def test_an_uploaded_content_is_condemned_until_a_package_refers_to_it() -> None:
    log = told(Create(1, "standard", {}))
    [stored] = news(log, Upload(((b"x", 1),)))
    assert stored == ObjectsStored("blake3", (stored_object(b"x"),), frozenset({stored_object(b"x").digest}))
    [row] = log.views.rows(LOCATIONS)
    assert (row["state"], row["stored_at"], row["changed_at"], row["rule"]) == (
        "condemned",
        1_000_002,
        1_000_002,
        "uploaded",
    )
    reprieved, _files = news(log, refer("a", b"x"))
    assert reprieved == ObjectsReprieved((place_of(b"x"),))
    assert states(log) == {"": "live"}


@pytest.mark.parametrize("others", [[], [Upload(((b"x", 1),))], [Create(2, "standard", {}), put_elsewhere("b", b"x")]])
def test_the_number_of_events_of_an_upload_does_not_tell_what_others_have_stored(others: list[Step]) -> None:
    log = told(Create(1, "standard", {}), *others)
    steps = Upload(((b"x", 1),)), Upload(((b"x", 1), (b"yy", 1))), refer("a", b"x"), refer("b", b"x"), refer("a", b"x")
    assert [len(news(log, step)) for step in steps] == [1, 1, 2, 2, 0]
    assert states(log) == {"": "live"}


def test_an_upload_of_a_flawed_content_supersedes_its_object_and_keeps_its_state() -> None:
    log = told(*CONDEMNED, Find(((b"yy", "missing"), (b"x", "damaged"))))
    stored, retired = news(log, Upload(((b"x", 2), (b"yy", 2))))
    assert stored == ObjectsStored(
        "blake3", (stored_object(b"x", 2), stored_object(b"yy", 2)), frozenset({stored_object(b"x").digest})
    )
    assert retired == ObjectsRetired((place_of(b"x"), place_of(b"yy")), "superseded")


def test_an_upload_at_a_retired_key_is_refused_with_the_next_place() -> None:
    refused = refusal(told(*RETIRED), Upload(((b"x", 1), (b"new", 1))))
    assert isinstance(refused, ObjectsNotStored)
    assert refused.next_places == {address_of(b"x"): place_of(b"x", 2)}
    [stored] = news(told(*REMOVED), Upload(((b"x", 2),)))
    assert stored == ObjectsStored("blake3", (stored_object(b"x", 2),), frozenset({stored_object(b"x").digest}))


def test_an_orphan_is_retired_and_its_row_has_no_time_of_storing() -> None:
    log = told(Create(1, "standard", {}))
    assert news(log, Retire(((b"x", 1),), "orphan")) == [ObjectsRetired((place_of(b"x"),), "orphan")]
    [row] = log.views.rows(LOCATIONS)
    assert (row["state"], row["stored_at"], row["rule"]) == ("retired", None, "orphan")
    assert isinstance(refusal(log, put("a", b"x")), ObjectsNotStored)
    assert news(log, Retire(((b"x", 1),), "orphan")) == []


def test_what_is_not_condemned_is_not_retired_and_what_is_not_retired_is_not_removed() -> None:
    log = told(*CONDEMNED)
    assert news(log, Retire(((b"yy", 1),), "condemned")) == []
    for step in (Remove(((b"x", 1),)), Remove(((b"yy", 2),))):
        assert isinstance(refusal(log, step), InvalidValue)
    assert news(told(*REMOVED), Remove(((b"x", 1),))) == []


def test_a_removed_row_stays_as_a_record() -> None:
    log = told(*REMOVED)
    [row] = [row for row in log.views.rows(LOCATIONS) if row["state"] == "removed"]
    assert row["object_key"] == place_of(b"x").object_key
    assert (row["stored_at"], row["changed_at"], row["rule"]) == (1_000_002, 1_000_005, "replaced")


@pytest.mark.parametrize("step", [Retire(((b"x", 1),), "condemned"), Retire(((b"x", 9),), "orphan")])
def test_nothing_is_condemned_or_retired_while_entries_and_the_log_disagree(step: Step) -> None:
    log = told(*CONDEMNED)
    log.state.references[stored_object(b"x").digest] += 1
    assert isinstance(refusal(log, step), ProjectionDamaged)


def test_an_object_whose_row_was_lost_is_no_orphan() -> None:
    for content in (b"yy", b"x"):  # one is in a package, the other is not
        log = told(*CONDEMNED)
        del log.state.objects[stored_object(content).digest]
        assert isinstance(refusal(log, Retire(((content, 1),), "orphan")), ProjectionDamaged)


def test_a_key_of_another_content_is_no_place_for_one() -> None:
    log = told(Create(1, "standard", {}))
    file = FileStep("a", b"x", False).ingested()
    for key in ("k", place_of(b"yy").object_key):
        stored = file.stored._replace(place=Place("local", key))
        command = IngestFiles(package_id_of(1), (file.entry,), (stored,), OnExisting.REFUSE)
        assert isinstance(log.commit(command), ArtifactStoreError)


HOSTILE: dict[str, tuple[list[Step], Payload]] = {
    "condemned in a package": (CONDEMNED, ObjectsCondemned((place_of(b"yy"),), "unreferenced")),
    "condemned twice": (CONDEMNED, ObjectsCondemned((place_of(b"x"),), "unreferenced")),
    "reprieved while live": (CONDEMNED, ObjectsReprieved((place_of(b"yy"),))),
    "retired while live": (CONDEMNED, ObjectsRetired((place_of(b"yy"),), "condemned")),
    "retired twice": (RETIRED, ObjectsRetired((place_of(b"x"),), "condemned")),
    "superseded by nothing": (CONDEMNED, ObjectsRetired((place_of(b"yy"),), "superseded")),
    "superseded, and unknown": (CONDEMNED, ObjectsRetired((place_of(b"x", 2),), "superseded")),
    "an orphan with a row": (CONDEMNED, ObjectsRetired((place_of(b"yy"),), "orphan")),
    "condemned while a package refers to it": (
        [*CONDEMNED, Find(((b"yy", "missing"),))],
        ObjectsStored("blake3", (stored_object(b"yy", 2),), frozenset({stored_object(b"yy").digest})),
    ),
    "stored at a retired key": (RETIRED, ObjectsStored("blake3", (stored_object(b"x"),))),
}


@pytest.mark.parametrize(("steps", "payload"), HOSTILE.values(), ids=HOSTILE)
def test_no_log_may_say_what_no_command_could_have_made_true(steps: list[Step], payload: Payload) -> None:
    log = told(*steps)
    state = LogState()
    for stored in log.events:
        admit(examine(stored), state)
    [event] = stored_events([payload], after=len(log.events))
    with pytest.raises(EventRefused):
        admit(examine(event), state)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetireObjects((place_of(b"x"),), "superseded"),
        lambda: RetireObjects((Place("local", "k"),), "orphan"),
        lambda: RemoveObjects((place_of(b"x"), place_of(b"x"))),
        lambda: ReplaceObjects(()),
        lambda: StoreObjects(()),
    ],
)
def test_what_names_no_objects_is_no_command(make: Callable[[], object]) -> None:
    with pytest.raises(ArtifactStoreError):
        make()


def test_a_reprieve_names_every_condemned_object_of_a_content() -> None:
    """Otherwise the other one supersedes it later, and stays condemned while a package refers to the content."""
    one, two = stored_object(b"x"), stored_object(b"x")._replace(place=place_of(b"x", 2))
    told_so_far: list[Payload] = [
        LOG_BEGUN,
        ObjectsStored("blake3", (one,)),
        ObjectsCondemned((one.place,), "unreferenced"),
        ObjectsStored("blake3", (two,)),
        ObjectsCondemned((two.place,), "unreferenced"),
    ]
    state = LogState()
    for number, payload in enumerate(told_so_far):
        [event] = stored_events([payload], after=number)
        admit(examine(event), state)
    for places in ((one.place,), (two.place,)):
        [event] = stored_events([ObjectsReprieved(places)], after=len(told_so_far))
        with pytest.raises(EventRefused):
            admit(examine(event), deepcopy(state))
    [event] = stored_events([ObjectsReprieved((one.place, two.place))], after=len(told_so_far))
    admit(examine(event), state)
