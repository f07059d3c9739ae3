"""The rules of a purge: what it takes away, that nothing brings it back, and that no log can pretend one."""

import pytest
from msgspec.structs import replace

from artifactstore_protocols.admission import admit, examine
from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import ContentsPurged, ObjectsStored, Payload
from artifactstore_protocols.events import EventRefused
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.purging import PURGED_MAX, ContentPurged, PurgeContents
from artifactstore_protocols.views import LOCATIONS, PURGED
from command_strategies import (
    Create,
    FileStep,
    Ingest,
    PlaceAHold,
    Purge,
    Remove,
    Replace,
    Retire,
    Step,
    package_id_of,
    place_of,
    stored_events,
    stored_object,
)
from memory_log import MemoryLog

X, YY = stored_object(b"x").digest, stored_object(b"yy").digest
STORED: list[Step] = [
    Create(1, "standard", {}),
    Ingest(1, (FileStep("a", b"x", False), FileStep("b", b"yy", False)), OnExisting.REFUSE),
    PlaceAHold(1, 1),
]


def told(*steps: Step) -> MemoryLog:
    log = MemoryLog()
    for step in steps:
        assert log.ask(step) is None, step
    return log


def news(log: MemoryLog, step: Step) -> list[Payload]:
    before = len(log.events)
    assert log.ask(step) is None, step
    return [stored.decode() for stored in log.events[before:]]


def test_a_purge_retires_every_object_of_a_content_whatever_holds_it() -> None:
    log = told(*STORED)
    assert news(log, Purge((b"x",))) == [ContentsPurged((X,), (place_of(b"x"),), "leaked")]
    assert (log.state.totals.objects, log.state.totals.object_bytes) == (1, 2)
    assert log.state.packages[package_id_of(1)].files == 2
    [row] = log.views.rows(PURGED)
    assert (row["digest_primary"], row["reason"], row["purged_by"]) == (X, "leaked", "ci")
    states = {row["object_key"]: (row["state"], row["rule"]) for row in log.views.rows(LOCATIONS)}
    assert states == {place_of(b"x").object_key: ("retired", "purged"), place_of(b"yy").object_key: ("live", None)}
    # A content that is purged already is left out, and one that was removed long ago is still refused from then on.
    assert news(log, Purge((b"x",))) == []
    assert news(log, Purge((b"yy", b"x"))) == [ContentsPurged((YY,), (place_of(b"yy"),), "leaked")]


@pytest.mark.parametrize("removed", [False, True])
def test_nothing_brings_a_purged_content_back(removed: bool) -> None:
    log = told(*STORED, Purge((b"x",)), *([Remove(((b"x", 1),))] if removed else []), Create(2, "standard", {}))
    for generation in (1, 2):
        again = FileStep("c", b"x", False, generation)
        for package in (1, 2):
            refused = log.ask(Ingest(package, (again,), OnExisting.REPLACE))
            assert isinstance(refused, ContentPurged)
            assert (refused.by, refused.reason, refused.path) == ("ci", "leaked", "c")
    assert news(log, Replace(((b"x", 2),))) == []
    # Its entry can be replaced, and bytes that arrive late at a new key are an orphan although the entry is there.
    assert news(log, Retire(((b"x", 3),), "orphan")) != []
    assert news(log, Remove(((b"x", 3),))) != []
    assert log.ask(Ingest(1, (FileStep("a", b"clean", False),), OnExisting.REPLACE)) is None


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ((b"nowhere",), "names no such content"),
        ((b"",), "nothing to destroy"),
    ],
)
def test_only_a_content_that_the_log_names_can_be_purged(contents: tuple[bytes, ...], reason: str) -> None:
    empty = Ingest(1, (FileStep("empty", b"", False),), OnExisting.REFUSE)
    log = told(*STORED, empty)
    refused = log.ask(Purge(contents))
    assert isinstance(refused, InvalidValue)
    assert reason in str(refused)


@pytest.mark.parametrize(
    ("contents", "reason"),
    [((), "1 to 256"), ((X,) * 2, "twice"), ((X[1:],), "no digest"), ((X,) * (PURGED_MAX + 1), "1 to 256")],
)
def test_a_command_names_different_digests_and_a_reason(contents: tuple[bytes, ...], reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        PurgeContents(contents, "leaked")
    for wrong in ("", "a\nb", "r" * 201):
        with pytest.raises(InvalidValue, match="reason"):
            PurgeContents((X,), wrong)


PURGED_X = ContentsPurged((X,), (place_of(b"x"),), "leaked")
HOSTILE: dict[str, list[Payload]] = {
    "it leaves an object there": [replace(PURGED_X, objects=())],
    "it takes another object": [replace(PURGED_X, objects=(place_of(b"x"), place_of(b"yy")))],
    "the log never named it": [ContentsPurged((b"0" * 32,), (), "leaked")],
    "it has no reason": [replace(PURGED_X, reason="")],
    "it names a content twice": [replace(PURGED_X, contents=(X, X))],
    "it is purged already": [PURGED_X, ContentsPurged((X,), (), "again")],
    "it comes back": [PURGED_X, ObjectsStored(PRIMARY_ALGORITHM, (stored_object(b"x", 2),))],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_log_from_outside_cannot_pretend_a_purge_or_undo_one(case: str) -> None:
    log = told(*STORED)
    *before, last = HOSTILE[case]
    for payload in before:
        [stored] = stored_events([payload], after=len(log.events))
        admit(examine(stored), log.state)
        log.events.append(stored)
    with pytest.raises(EventRefused):
        admit(examine(*stored_events([last], after=len(log.events))), log.state)
