"""Records as JSON: plain keys, RFC 3339 times, and nothing that a terminal or a line reader would stumble over."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.facts import Json, as_json, event_facts, facts, health_facts, replay_facts, timestamp
from artifactstore_protocols import manifest
from artifactstore_protocols.events import CommandStamp, Event, StoredEvent
from artifactstore_protocols.payloads import MetadataSchemaRegistered, PackageFinalized, Payload, encode_payload
from artifactstore_protocols.records import ComponentHealth, HealthReport, ReplayReport
from command_strategies import Ids
from manifest_samples import sample_file, sample_manifest


class _Kind(StrEnum):
    ONE = "one"


@dataclass(frozen=True, slots=True)
class _Record:
    made_at_us: int
    sealed_at_us: int | None
    parts: tuple[int, ...]
    labels: Mapping[str, object]
    kind: _Kind


def _stored(payload: Payload) -> StoredEvent:
    ids = Ids()
    return StoredEvent(3, Event(ids(), payload.TYPE, "s", "ci", 0, encode_payload(payload), CommandStamp(ids())))


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (1_763_864_645_123_456, "2025-11-23T02:24:05.123456Z"),
    ],
)
def test_times_are_rfc_3339_with_six_digits(us: int, text: str) -> None:
    assert timestamp(us) == text


def test_a_record_becomes_plain_keys() -> None:
    record = _Record(1, None, (1, 2), {"a": None, "b": [True, 1.5]}, _Kind.ONE)
    assert facts(record) == {
        "made_at": "1970-01-01T00:00:00.000001Z",
        "sealed_at": None,
        "parts": [1, 2],
        "labels": {"a": None, "b": [True, 1.5]},
        "kind": "one",
    }


@pytest.mark.parametrize("value", [b"bytes", object(), _Record])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        facts(value)


@given(st.text())
def test_text_survives_and_stays_on_one_line(text: str) -> None:
    line = as_json({"text": text})
    assert json.loads(line) == {"text": text}
    assert len(line.splitlines()) == 1


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_json(float("nan"))


def test_an_event_is_shown_with_its_payload() -> None:
    shown = cast("Mapping[str, Json]", event_facts(_stored(MetadataSchemaRegistered("build", 1, "{}"))))
    assert (shown["sequence"], shown["type"], shown["actor"]) == (3, "v1.metadata_schema.registered", "ci")
    assert shown["recorded_at"] == "1970-01-01T00:00:00.000000Z"
    assert shown["payload"] == {"name": "build", "version": 1, "schema": "{}"}


def test_a_sealed_manifest_is_shown_without_its_files() -> None:
    sealed = manifest.encode(sample_manifest(sample_file("a", b"content")))
    shown = cast("Mapping[str, Mapping[str, Json]]", event_facts(_stored(PackageFinalized(sealed))))
    assert set(shown["payload"]) == {"package", "provenance"}


def test_a_replay_says_whether_it_is_identical() -> None:
    report = ReplayReport(events=2, sequence=2, projection_digest="d", live_digest="e", repaired_rows=1)
    assert replay_facts(report) == {
        "events": 2,
        "sequence": 2,
        "projection_digest": "d",
        "identical": False,
        "repaired_rows": 1,
    }


def test_health_names_what_is_wrong() -> None:
    well = ComponentHealth("database", True, "ok", {"head": 3}, 0.12345678, 0)
    unwell = ComponentHealth("storage", False, "is full", {}, 0.0, 0)
    shown = health_facts(HealthReport("1.0", 0, (well, unwell)), 1_500_000)
    assert (shown["status"], shown["version"]) == ("unhealthy", "1.0")
    assert shown["reasons"] == ["storage: is full"]
    components = cast("Mapping[str, Mapping[str, Json]]", shown["components"])
    assert (components["database"]["latency_s"], components["database"]["age_s"]) == (0.123457, 1.5)
    healthy = health_facts(HealthReport("1.0", 0, (well,)), 0)
    assert (healthy["status"], healthy["reasons"]) == ("healthy", [])
