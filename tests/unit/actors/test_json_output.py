"""Records as JSON: plain keys, RFC 3339 times, and nothing that a terminal or a line reader would stumble over."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from artifactstore.json_output import Json, event_to_json, health_to_json, json_text, replay_to_json, timestamp, to_json
from artifactstore_protocols import manifest
from artifactstore_protocols.commands import OnExisting
from artifactstore_protocols.event_types import MetadataSchemaRegistered, PackageFinalized, Payload
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.judging import decide
from artifactstore_protocols.records import ComponentHealth, HealthReport, ReplayReport
from command_strategies import digests_of, ingest, ingested, opened, package_id_of, payloads, place_of, stored_events
from manifest_samples import sample_file, sample_manifest


class _Kind(StrEnum):
    ONE = "one"


class _Record(Struct):
    made_at_us: int
    finalized_at_us: int | None
    parts: tuple[int, ...]
    labels: Mapping[str, object]
    kind: _Kind
    size_bytes: int


def _stored(payload: Payload) -> StoredEvent:
    [stored] = stored_events([payload], after=2)
    return stored


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
    record = _Record(1, None, (1, 2), {"a": None, "b": [True, 1.5]}, _Kind.ONE, 3)
    assert to_json(record) == {
        "made_at": "1970-01-01T00:00:00.000001Z",
        "finalized_at": None,
        "parts": [1, 2],
        "labels": {"a": None, "b": [True, 1.5]},
        "kind": "one",
        "bytes": 3,
    }


@pytest.mark.parametrize("value", [object(), _Record, 1j])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        to_json(value)


@given(st.text())
def test_text_survives_and_stays_on_one_line(text: str) -> None:
    line = json_text({"text": text})
    assert json.loads(line) == {"text": text}
    assert len(line.splitlines()) == 1


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_text(float("nan"))


def test_an_event_is_shown_with_its_payload() -> None:
    shown = cast("Mapping[str, Json]", event_to_json(_stored(MetadataSchemaRegistered("build", 1, "{}"))))
    assert (shown["sequence"], shown["type"], shown["principal"]) == (3, "v1.metadata_schema.registered", "ci")
    assert shown["recorded_at"] == "1970-01-01T00:00:01.000003Z"
    assert shown["payload"] == {"name": "build", "version": 1, "schema": "{}"}


@given(payload=payloads())
def test_every_event_has_a_json_form(payload: Payload) -> None:
    if not isinstance(payload, PackageFinalized):
        assert json.loads(json_text(event_to_json(_stored(payload))))["payload"]


def test_entries_and_objects_are_shown_by_the_names_of_their_fields() -> None:
    command = ingest(ingested("a", b"x"), on_existing=OnExisting.REPLACE)
    stored, files, _condemned = decide(command, opened(("a", b"")), entries_max=9)
    objects, entries = (
        cast("Mapping[str, Mapping[str, Json]]", event_to_json(_stored(each))) for each in (stored, files)
    )
    hexes = digests_of(b"x")
    assert objects["payload"] == {
        "digest_algorithm": "blake3",
        "objects": [
            {
                "digest": hexes.primary.hex,
                "sha256": hexes.sha256.hex,
                "bytes": 1,
                "place": dict(zip(("backend_id", "object_key"), place_of(b"x"), strict=True)),
                "retrieval_tier": "immediate",
                "restore_status": "not_required",
            }
        ],
        "condemned": [],
    }
    assert (entries["payload"]["package_id"], entries["payload"]["replaced"]) == (package_id_of(1), ["a"])
    assert entries["payload"]["entries"] == [
        {
            "kind": "file",
            "path": "a",
            "executable": False,
            "media_type": "text/plain",
            "bytes": 1,
            "digest": hexes.primary.hex,
            "target": "",
        }
    ]


def test_a_finalized_manifest_is_shown_without_its_files() -> None:
    finalized = manifest.encode(sample_manifest(sample_file("a", b"content")))
    shown = cast("Mapping[str, Mapping[str, Json]]", event_to_json(_stored(PackageFinalized(finalized))))
    assert set(shown["payload"]) == {"package", "provenance"}


def test_a_replay_says_whether_it_is_identical() -> None:
    report = ReplayReport(events=2, sequence=2, projection_digest="d", live_digest="e", repaired_rows=1)
    assert replay_to_json(report) == {
        "events": 2,
        "sequence": 2,
        "projection_digest": "d",
        "identical": False,
        "repaired_rows": 1,
    }


def test_health_names_what_is_wrong() -> None:
    well = ComponentHealth("database", True, "ok", {"head": 3}, 0.12345678, 0)
    unwell = ComponentHealth("storage", False, "is full", {}, 0.0, 0)
    shown = health_to_json(HealthReport("1.0", 0, (well, unwell)), 1_500_000)
    assert (shown["status"], shown["version"]) == ("unhealthy", "1.0")
    assert shown["reasons"] == ["storage: is full"]
    components = cast("Mapping[str, Mapping[str, Json]]", shown["components"])
    assert (components["database"]["latency_s"], components["database"]["age_s"]) == (0.123457, 1.5)
    healthy = health_to_json(HealthReport("1.0", 0, (well,)), 0)
    assert (healthy["status"], healthy["reasons"]) == ("healthy", [])
