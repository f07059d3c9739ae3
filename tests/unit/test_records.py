"""What answers work out from their own facts."""

import pytest
from msgspec.structs import replace

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.records import ComponentHealth, FlawedObject, HealthReport, ReplayReport, VerifyReport

SOUND = VerifyReport(3, 30, (), (), 1, (), ())
FLAW = FlawedObject("blake3:0", 10, ("p/a",))
DATABASE = ComponentHealth("database", True, "head 7", {"head": 7}, 0.001, 70)
STORAGE = ComponentHealth("storage", True, "1 GB free", {"free_bytes": 10**9}, 0.002, 71)


def test_a_verification_is_sound_if_nothing_was_found() -> None:
    assert SOUND.sound
    for found in (
        replace(SOUND, mismatches=(FLAW,)),
        replace(SOUND, missing=(FLAW,)),
        replace(SOUND, manifest_mismatches=("p",)),
        replace(SOUND, row_flaws=("p",)),
        replace(SOUND, unreadable=(FLAW,)),
    ):
        assert not found.sound


@pytest.mark.parametrize(("live", "identical"), [("blake3:0", True), ("blake3:1", False)])
def test_a_replay_is_identical_if_both_digests_are(live: str, identical: bool) -> None:
    assert ReplayReport(7, 7, "blake3:0", live, 0).identical is identical


def test_a_store_is_healthy_if_every_part_is_and_says_why_it_is_not() -> None:
    report = HealthReport("0.1.0", 72, (DATABASE, STORAGE))
    assert report.healthy
    assert report.reasons == ()
    full = replace(STORAGE, healthy=False, detail="disk full")
    gone = replace(DATABASE, healthy=False, detail="file deleted")
    report = replace(report, components=(gone, full))
    assert not report.healthy
    assert report.reasons == ("database: file deleted", "storage: disk full")
    assert not replace(report, components=(DATABASE, full)).healthy


def test_an_invalid_value_says_what_it_is_and_what_would_be_right() -> None:
    assert str(InvalidValue("digest", "x\n", "use hex")) == "invalid digest 'x\\n': use hex"
