"""Events hold what they must, and their record is one canonical map that can be made again at any time."""

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

import reference_cbor
from artifactstore_protocols import events as records
from artifactstore_protocols.canonical import INTEGER_MAX, RecordValue, decode_record
from artifactstore_protocols.canonical import encode_record as encode_map
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import MetadataSchemaRegistered, UnknownEventType, encode_payload
from artifactstore_protocols.events import (
    CommandStamp,
    Event,
    EventConflict,
    IdempotencyConflict,
    PayloadDiffers,
    RecordInvalid,
    StoredEvent,
    encode_record,
)
from artifactstore_protocols.ids import check_id
from strategies import mutations

ID = "0198f3a0-7c00-7000-8000-000000000001"
OTHER_ID = "0198f3a0-7c00-7000-8000-000000000002"
SCHEMA = MetadataSchemaRegistered("é", 1, "{}")
EVENT = Event(
    event_id=ID,
    type="v1.metadata_schema.registered",
    subject="é",
    principal="ci@example.org",
    recorded_at_us=1_756_000_000_000_000,
    payload=encode_payload(SCHEMA),
    command=CommandStamp(OTHER_ID, "blake3:00", "key"),
)

ids = st.uuids().map(str)
texts = st.text(max_size=8)
stamps = st.builds(CommandStamp, ids, st.none() | texts, st.none() | texts)
times = st.integers(-INTEGER_MAX, INTEGER_MAX)
events = st.builds(Event, ids, texts, texts, texts, times, st.binary(max_size=8), stamps)


@given(text=ids)
def test_a_canonical_uuid_is_returned_unchanged(text: str) -> None:
    assert check_id("event id", text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        ID.upper(),
        ID.replace("-", ""),
        f"{{{ID}}}",
        f"urn:uuid:{ID}",
        f" {ID}",
        f"{ID}\n",
        ID[:-1],
        f"{ID}0",
        ID.replace("0198f3a0-7c00", "0198f3a07-c00"),
        ID.replace("f", "g"),
        ID.replace("1", "\u0661"),
        ID.replace("00", "0_"),
        "x" * 100_000,
    ],
)
def test_any_other_text_is_no_id(text: str) -> None:
    with pytest.raises(InvalidValue, match="invalid event id") as refused:
        check_id("event id", text)
    assert len(refused.value.value) <= 60


def test_an_event_and_a_stamp_without_a_proper_id_cannot_be_made() -> None:
    with pytest.raises(InvalidValue, match="event id"):
        replace(EVENT, event_id="1")
    with pytest.raises(InvalidValue, match="command id"):
        CommandStamp("1")


def test_the_record_is_a_map_of_every_field_but_the_position_with_the_payloads_digest() -> None:
    assert encode_record(EVENT) == reference_cbor.encode(
        {
            "version": 1,
            "event_id": ID,
            "type": "v1.metadata_schema.registered",
            "subject": "é",
            "principal": "ci@example.org",
            "recorded_at_us": 1_756_000_000_000_000,
            "command_id": OTHER_ID,
            "command_digest": "blake3:00",
            "idempotency_key": "key",
            "payload_digest": f"blake3:{blake3(EVENT.payload).hexdigest()}",
        }
    )


@given(event=events)
def test_a_record_holds_all_of_its_event_but_the_payload(event: Event) -> None:
    record = decode_record(encode_record(event))
    assert isinstance(record, dict)
    assert record.pop("version") == 1
    stamp = asdict(event.command)
    stated = {**asdict(event), "command_id": stamp["command_id"], "command_digest": stamp["digest"]}
    stated["idempotency_key"] = stamp["idempotency_key"]
    del stated["command"], stated["payload"], stated["redacted_by"]  # a record has the digest of the first payload
    assert record == stated


@given(event=events)
def test_a_record_is_read_back_as_the_event_that_it_is_of(event: Event) -> None:
    assert records.decode_event(7, encode_record(event), event.payload) == StoredEvent(7, event)


def test_a_record_is_small_whatever_its_payload_is() -> None:
    large = replace(EVENT, payload=bytes(1 << 20))
    assert len(encode_record(large)) == len(encode_record(EVENT))


@given(event=events, payload=st.binary(max_size=8), source=st.none() | st.just("log file f"))
def test_another_payload_than_the_record_names_is_refused(event: Event, payload: bytes, source: str | None) -> None:
    record = encode_record(event)
    if payload == event.payload:
        return
    with pytest.raises(PayloadDiffers) as refused:
        records.decode_event(7, record, payload, source=source)
    error = refused.value
    assert (error.code, error.sequence, error.event_type) == ("payload-differs", 7, event.type)
    assert (error.recorded, error.found) == (event.payload_digest, records.digest_of_payload(payload))
    assert error.source == source


FIELDS = decode_record(encode_record(EVENT))
assert isinstance(FIELDS, dict)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "exactly the keys"),
        ({}, "exactly the keys"),
        (FIELDS | {"more": 1}, "exactly the keys"),
        ({name: value for name, value in FIELDS.items() if name != "principal"}, "exactly the keys"),
        (FIELDS | {"version": 2}, "version 2 is unknown"),
        (FIELDS | {"version": True}, "version has the wrong type"),
        (FIELDS | {"payload_digest": b""}, "payload_digest has the wrong type"),
        (FIELDS | {"principal": None}, "principal has the wrong type"),
        (FIELDS | {"recorded_at_us": "1"}, "recorded_at_us has the wrong type"),
        (FIELDS | {"idempotency_key": 1}, "idempotency_key has the wrong type"),
        (FIELDS | {"event_id": "1"}, "invalid event id"),
        (FIELDS | {"command_id": "1"}, "invalid command id"),
    ],
)
def test_any_other_map_is_no_record(value: RecordValue, reason: str) -> None:
    with pytest.raises(RecordInvalid, match=reason):
        records.decode_event(7, encode_map(value), EVENT.payload)


@given(record=mutations(encode_record(EVENT)))
def test_a_changed_record_is_refused_or_is_that_of_another_event(record: bytes) -> None:
    try:
        stored = records.decode_event(7, record, EVENT.payload)
    except (RecordInvalid, PayloadDiffers):
        return
    assert encode_record(stored.event) == record


@given(event=events)
def test_a_record_can_be_made_again(event: Event) -> None:
    assert encode_record(replace(event, command=replace(event.command))) == encode_record(event)


@pytest.mark.parametrize(
    "other",
    [
        replace(EVENT, event_id=OTHER_ID),
        replace(EVENT, type="v1.package.created"),
        replace(EVENT, subject="e"),
        replace(EVENT, principal="someone"),
        replace(EVENT, recorded_at_us=7),
        replace(EVENT, payload=b""),
        replace(EVENT, command=replace(EVENT.command, command_id=ID)),
        replace(EVENT, command=replace(EVENT.command, digest=None)),
        replace(EVENT, command=replace(EVENT.command, digest="blake3:01")),
        replace(EVENT, command=replace(EVENT.command, idempotency_key=None)),
        replace(EVENT, command=replace(EVENT.command, idempotency_key="")),
    ],
)
def test_another_event_has_another_record(other: Event) -> None:
    assert encode_record(other) != encode_record(EVENT)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (EVENT, True),
        (replace(EVENT, recorded_at_us=7), True),
        (replace(EVENT, command=CommandStamp(ID)), True),
        (replace(EVENT, event_id=OTHER_ID), True),
        (replace(EVENT, type="v1.package.created"), False),
        (replace(EVENT, subject="e"), False),
        (replace(EVENT, principal="someone"), False),
        (replace(EVENT, payload=b""), False),
    ],
    ids=["nothing", "time", "command", "id", "type", "subject", "principal", "payload"],
)
def test_content_is_what_an_event_says_of_its_subject(other: Event, same: bool) -> None:
    assert EVENT.same_content(other) is same


def test_a_stored_event_decodes_its_payload() -> None:
    assert StoredEvent(7, EVENT).decode() == SCHEMA
    with pytest.raises(UnknownEventType):
        StoredEvent(7, replace(EVENT, type="v2.metadata_schema.registered")).decode()


def test_conflicts_say_what_to_do() -> None:
    assert str(PayloadDiffers(7, "v1.files.ingested", "blake3:00", "blake3:11", "log file f")) == (
        "the payload of event 7 (v1.files.ingested) in log file f was changed: its record names blake3:00, and what is "
        "there is blake3:11; take another copy of it"
    )
    assert str(EventConflict(ID, 7)) == (
        f"event id {ID} is already in the log at sequence 7 with other content; make a new id for a new event"
    )
    assert str(IdempotencyConflict("nightly", 7)) == (
        "idempotency key 'nightly' was used for another command at sequence 7; "
        "repeat that command exactly, or choose a new key"
    )
