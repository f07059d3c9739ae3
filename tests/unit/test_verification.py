"""Verified ranges: what a sample has, the payloads that say what was read, and the rows that they change."""

from copy import deepcopy
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from artifactstore_protocols import canonical
from artifactstore_protocols.admission import admit, examine
from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.commands import OnExisting, RecordVerification, command_digest
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import (
    STORE_VERIFIED,
    PayloadInvalid,
    StoreVerified,
    decode_payload,
    encode_payload,
    type_of,
)
from artifactstore_protocols.events import EventRefused
from artifactstore_protocols.judging import project
from artifactstore_protocols.state import LogState
from artifactstore_protocols.storage_errors import KeyRefused
from artifactstore_protocols.verification import EVERY_OBJECT, SEED_MAX, Sample, VerifiedKey
from artifactstore_protocols.views import LOCATIONS
from command_strategies import Create, FileStep, Find, Ingest, Verify, place_of, samples, stored_events
from memory_log import MemoryLog
from memory_views import number_of, text_of

FIRST, LAST = VerifiedKey(2, place_of(b"x")), VerifiedKey(3, place_of(b"yy"))
RANGE = RecordVerification(5, FIRST, LAST, EVERY_OBJECT, 2, 3)


def _has(sample: Sample, end: int) -> bool:
    text = end.to_bytes(4)
    return not sample.arcs or any(first <= text <= last for first, last in sample.arcs)


@given(sample=samples(), distance=st.integers(0, SEED_MAX))
def test_a_sample_has_its_share_of_all_ends_beginning_at_its_seed(sample: Sample, distance: int) -> None:
    width = max(1, sample.share_ppm * (SEED_MAX + 1) // 1_000_000)
    assert _has(sample, (sample.seed + distance) % (SEED_MAX + 1)) == (distance < width)


@given(share_ppm=st.integers(1, 999_999), seed=st.integers(0, SEED_MAX))
def test_the_arcs_of_a_sample_are_as_long_as_its_share(share_ppm: int, seed: int) -> None:
    length = sum(int.from_bytes(last) - int.from_bytes(first) + 1 for first, last in Sample(share_ppm, seed).arcs)
    assert length == max(1, share_ppm * (SEED_MAX + 1) // 1_000_000)


@pytest.mark.parametrize(("share_ppm", "seed"), [(0, 0), (1_000_001, 0), (1, -1), (1, SEED_MAX + 1), (1_000_000, 1)])
def test_other_shares_and_seeds_are_refused(share_ppm: int, seed: int) -> None:
    with pytest.raises(InvalidValue):
        Sample(share_ppm, seed)


@pytest.mark.parametrize(
    "changed",
    [
        {"objects": 0},
        {"objects": 2049},
        {"damaged": 2, "missing": 1},
        {"bytes": -1},
        {"as_of": 2},
        {"first": VerifiedKey(-1, place_of(b"x"))},
        {"first": VerifiedKey(1, place_of(b"x")._replace(object_key="x"))},
    ],
)
def test_a_range_that_nobody_can_have_read_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises((InvalidValue, KeyRefused)):
        replace(RANGE, **changed)


def test_two_ranges_are_two_commands_and_the_head_at_their_begin_does_not_count() -> None:
    digests = {
        command_digest(command, "ci")
        for command in (RANGE, replace(RANGE, as_of=9), replace(RANGE, objects=1), replace(RANGE, last=FIRST))
    }
    assert len(digests) == 3


def test_a_payload_of_another_form_is_refused() -> None:
    payload = StoreVerified(5, FIRST, LAST, 1_000_000, 0, 2, 3, 0, 0)
    assert decode_payload(STORE_VERIFIED.name, encode_payload(payload)) == payload
    assert type_of(payload).describe(payload) == "verified 2 objects, 3 bytes"
    with pytest.raises(InvalidValue):
        decode_payload(STORE_VERIFIED.name, encode_payload(replace(payload, objects=0)))
    fields = cast("dict[str, Any]", canonical.decode_record(encode_payload(payload), max_bytes=1000))
    keys: list[list[RecordValue]] = [[2, "local"], [2, "local", 3], ["2", "local", "k"]]
    for key in keys:
        with pytest.raises(PayloadInvalid, match="a sequence, a backend and a key"):
            decode_payload(STORE_VERIFIED.name, canonical.encode_record({**fields, "first": key}))


def test_a_range_ends_before_its_event_and_begins_before_its_end() -> None:
    payload = StoreVerified(5, FIRST, LAST, 1_000_000, 0, 2, 3, 0, 0)
    [stored] = stored_events([replace(payload, as_of=8)], after=7)
    with pytest.raises(EventRefused, match="before this one"):
        project(stored)
    [stored] = stored_events([replace(payload, first=LAST, last=FIRST)], after=7)
    with pytest.raises(EventRefused, match="comes after its last"):
        project(stored)


@pytest.mark.parametrize(
    "changed",
    [
        {"objects": 3},
        {"bytes": 4},
        {"first": VerifiedKey(1, place_of(b"never stored"))},
        {"last": VerifiedKey(5, place_of(b"a", 2))},
    ],
)
def test_a_log_from_outside_has_not_verified_more_than_it_stored(changed: dict[str, object]) -> None:
    log, state = _log(b"a", b"bb"), LogState()
    for stored in log.events:
        admit(examine(stored), state)
    first, last = (VerifiedKey(_verified(log)[place.object_key], place) for place in (place_of(b"a"), place_of(b"bb")))
    payload = StoreVerified(len(log.events), first, last, 1_000_000, 0, 2, 3, 0, 0)
    [event] = stored_events([payload], after=len(log.events))
    admit(examine(event), deepcopy(state))
    [event] = stored_events([replace(payload, **changed)], after=len(log.events))
    with pytest.raises(EventRefused):
        admit(examine(event), state)


def _verified(log: MemoryLog) -> dict[str, int]:
    """When each object was verified, by the end of its key."""
    return {text_of(row, "object_key"): number_of(row, "verified_sequence") for row in log.views.rows(LOCATIONS)}


def _log(*contents: bytes) -> MemoryLog:
    log = MemoryLog()
    assert log.ask(Create(1, "standard", {})) is None
    for content in contents:
        assert log.ask(Ingest(1, (FileStep(content.decode(), content, executable=False),), OnExisting.REFUSE)) is None
    return log


def test_only_the_objects_of_a_range_are_verified_by_it() -> None:
    log = _log(b"a", b"b", b"c")
    before = _verified(log)
    assert log.ask(Verify(1, 1, EVERY_OBJECT)) is None
    after, head = _verified(log), len(log.events)
    b, c = (place_of(content).object_key for content in (b"b", b"c"))
    assert after == {**before, b: head}
    assert log.ask(Find(((b"c", "damaged"),))) is None
    assert _verified(log) == {**after, c: head + 1}
    assert log.ask(Verify(0, 3, EVERY_OBJECT)) is None
    assert set(_verified(log).values()) == {head + 2}
