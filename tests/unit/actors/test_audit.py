"""An audit line says in words what an event did, for every type of event there is."""

import pytest

from artifactstore.audit import audit_entry
from artifactstore_protocols.events import CommandStamp, Event, StoredEvent
from artifactstore_protocols.payloads import (
    FileIngested,
    FileReplaced,
    MetadataSchemaRegistered,
    ObjectFlagged,
    ObjectHealed,
    PackageCreated,
    PackageFinalized,
    Payload,
    UnknownEventType,
    encode_payload,
)
from command_strategies import Ids

_FILE = ("p", 2, 1, 3, "a/b", "a/b", 3, False, "text/plain", "blake3:ab", "sha256:cd", "local", "key", "t", "r")


def _stored(event_type: str, payload: bytes) -> StoredEvent:
    ids = Ids()
    return StoredEvent(7, Event(ids(), event_type, "subject", "ci", 42, payload, CommandStamp(ids())))


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (PackageCreated("p", "nightly", "short", 1, {}), "created 'nightly', retention short"),
        (FileIngested(*_FILE), "added 'a/b', 3 bytes, blake3:ab"),
        (FileReplaced(*_FILE, "blake3:ef"), "replaced 'a/b', 3 bytes, blake3:ab"),
        (MetadataSchemaRegistered("build", 2, "{}"), "registered metadata schema 'build' version 2"),
        (ObjectFlagged("blake3:ab", "local", "missing"), "found object missing in local"),
        (ObjectHealed("blake3:ab", "local"), "rewrote a flawed object in local"),
    ],
)
def test_every_type_of_event_has_its_words(payload: Payload, detail: str) -> None:
    entry = audit_entry(_stored(payload.TYPE, encode_payload(payload)))
    assert (entry.sequence, entry.recorded_at_us, entry.actor) == (7, 42, "ci")
    assert (entry.type, entry.subject, entry.detail) == (payload.TYPE, "subject", detail)


def test_a_sealed_package_is_named_by_its_manifest_digest() -> None:
    entry = audit_entry(_stored(PackageFinalized.TYPE, b"canonical bytes"))
    assert entry.detail.startswith("finalised, manifest blake3:")


def test_an_event_of_a_newer_release_is_not_guessed_at() -> None:
    with pytest.raises(UnknownEventType):
        audit_entry(_stored("v9.package.sold", b"\xa0"))
