"""Health says what it measured: what is wrong, what it found all the same, and how old a reading may be."""

from dataclasses import replace
from typing import override

import pytest
import trio
import trio.testing

from artifactstore.health import HealthActor, PartUnwell
from artifactstore.supervision import Actor, ActorRef, ActorSpec, SupervisorSpec, handles, open_tree
from artifactstore_protocols.messages import (
    DatabaseReading,
    DatabaseRole,
    GetHealth,
    HealthRole,
    ProbeDatabase,
    ProbeStorage,
    StorageRole,
)
from artifactstore_protocols.records import ComponentHealth, HealthReport
from artifactstore_protocols.storage import BackendHealth
from artifactstore_protocols.storage_errors import StorageFailed

_WELL = BackendHealth("local", 1 << 40, 1 << 39, 1000, 0.001, None)


class _Database(Actor[DatabaseRole]):
    @handles(ProbeDatabase)
    async def probe(self, message: ProbeDatabase) -> DatabaseReading:  # noqa: ARG002 - a handler takes its message
        return DatabaseReading("a database", 3)


class _Storage(Actor[StorageRole]):
    """Says what it is told to say."""

    def __init__(self, answers: list[BackendHealth | Exception]) -> None:
        self._answers = answers

    @handles(ProbeStorage)
    async def probe(self, message: ProbeStorage) -> tuple[BackendHealth, ...]:  # noqa: ARG002 - as above
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return (answer,)


async def _reports(
    *answers: BackendHealth | Exception, max_age_s: float = 0, database_actor: type[_Database] = _Database
) -> list[HealthReport]:
    """A report for every answer of the storage."""
    database, storage = ActorRef[DatabaseRole]("database"), ActorRef[StorageRole]("storage")
    asked = ActorRef[HealthRole]("health")
    left = list(answers)
    spec = SupervisorSpec(
        name="root",
        children=(
            ActorSpec(ref=database, factory=database_actor),
            ActorSpec(ref=storage, factory=lambda: _Storage(left)),
            ActorSpec(ref=asked, factory=lambda: HealthActor(database, storage, {})),
        ),
    )
    async with open_tree(spec):
        return [await asked.ask(GetHealth(max_age_s)) for _ in answers]


def _storage(report: HealthReport) -> ComponentHealth:
    return next(part for part in report.components if part.name == "storage")


async def test_what_is_well_is_shown_with_what_was_measured() -> None:
    [report] = await _reports(_WELL)
    assert report.healthy
    assert report.reasons == ()
    assert _storage(report).facts == {
        "local_free_bytes": 1 << 39,
        "local_total_bytes": 1 << 40,
        "local_free_inodes": 1000,
        "local_canary_latency_s": 0.001,
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (replace(_WELL, canary_latency_s=None, failure="EIO"), "backend local: EIO"),
        (replace(_WELL, free_bytes=1000), "backend local has only 1000 bytes free"),
        (StorageFailed("local", "probing", "EIO"), "EIO"),
    ],
)
async def test_what_is_wrong_is_named(answer: BackendHealth | Exception, reason: str) -> None:
    [report] = await _reports(answer)
    assert not report.healthy
    assert reason in _storage(report).detail
    assert [part.name for part in report.components if part.healthy] == ["database"]


async def test_what_cannot_be_measured_is_left_out() -> None:
    [report] = await _reports(replace(_WELL, free_bytes=None, total_bytes=None, free_inodes=None))
    assert report.healthy
    assert _storage(report).facts == {"local_canary_latency_s": 0.001}


async def test_a_reading_is_taken_again_only_when_it_is_too_old() -> None:
    first, second = await _reports(_WELL, replace(_WELL, free_bytes=0))
    assert (first.healthy, second.healthy) == (True, False)
    first, second = await _reports(_WELL, replace(_WELL, free_bytes=0), max_age_s=3600)
    assert second is first


class _Stuck(_Database):
    @override
    async def probe(self, message: ProbeDatabase) -> DatabaseReading:
        await trio.sleep_forever()
        raise AssertionError("woken")


async def test_what_does_not_answer_in_time_is_unwell(autojump_clock: trio.testing.MockClock) -> None:
    [report] = await _reports(_WELL, database_actor=_Stuck)
    assert [part.name for part in report.components if not part.healthy] == ["database"]
    assert "within 5 s" in report.reasons[0]


def test_a_part_that_is_unwell_keeps_what_it_measured() -> None:
    unwell = PartUnwell("is full", {"free": 0})
    assert (str(unwell), unwell.facts) == ("is full", {"free": 0})
