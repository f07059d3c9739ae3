"""Identifiers are UUIDs of version 7: they tell their time, and no two are the same."""

import time
import uuid

from artifactstore.ids import new_id, now_us
from artifactstore_protocols.ids import check_id, event_id_of


def test_an_id_is_a_uuid_of_version_7_that_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    after = time.time_ns() // 1_000_000
    parsed = uuid.UUID(check_id("id", made))
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert before <= parsed.int >> 80 <= after


def test_ids_differ() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000


def test_the_ids_of_a_command_s_events_follow_from_its_own_and_have_its_time() -> None:
    commands = [new_id() for _ in range(300)]
    made = {event_id_of(command, index): command for command in commands for index in range(3)}
    assert len(made) == 900
    for event_id, command in made.items():
        parsed = uuid.UUID(check_id("event id", event_id))
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == uuid.UUID(command).int >> 80
    assert event_id_of("0198f3a0-7c00-7000-8000-000000000001", 1) == "0198f3a0-7c00-7217-b3ce-9802dfd4db33"


def test_now_is_in_microseconds() -> None:
    assert time.time_ns() // 1000 - now_us() < 1_000_000_000
