"""Health says what it measured: what is wrong, what it found all the same, and how old a reading may be."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast, override

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.health import HealthActor
from artifactstore.probes import (
    CRASHES_WITHIN_S,
    PROBE_TIMEOUT_S,
    PartUnwell,
    Probe,
    probe_actor,
    probe_database,
    probe_registry,
    probe_storage,
)
from artifactstore.supervision import Actor, ActorRef, ActorSpec, SupervisorSpec, handles, open_tree
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.messages import (
    DatabaseReading,
    DatabaseRole,
    GetHealth,
    HealthRole,
    ProbeDatabase,
    ProbeStorage,
    StorageRole,
)
from artifactstore_protocols.package_listing import PackageListing
from artifactstore_protocols.records import ComponentHealth, HealthReport, PackageRecord
from artifactstore_protocols.storage import BackendHealth
from artifactstore_protocols.storage_errors import StorageFailed
from artifactstore_protocols.supervision import ActorStopped, Message

_WELL = BackendHealth("local", 1 << 40, 1 << 39, 1000, 0.001, None)


class _Database(Actor[DatabaseRole]):
    @handles(ProbeDatabase)
    async def probe(self, message: ProbeDatabase) -> DatabaseReading:  # noqa: ARG002 - a handler takes its message
        return DatabaseReading("a database", 3, 1 << 39)


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
    probes = {"database": probe_database(database), "storage": probe_storage(storage)}
    spec = SupervisorSpec(
        name="root",
        children=(
            ActorSpec(ref=database, factory=database_actor),
            ActorSpec(ref=storage, factory=lambda: _Storage(left)),
            ActorSpec(ref=asked, factory=lambda: HealthActor(probes, {})),
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
    assert _storage(report).details == {
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
        (StorageFailed("local", "probing", "EIO"), "the device cannot read or write it"),
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
    assert _storage(report).details == {"local_canary_latency_s": 0.001}


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


@asynccontextmanager
async def _measured_by(probe: Probe) -> AsyncGenerator[ActorRef[HealthRole]]:
    asked = ActorRef[HealthRole]("health")
    spec = ActorSpec(ref=asked, factory=lambda: HealthActor({"part": probe}, {}))
    async with open_tree(SupervisorSpec(name="root", children=(spec,))):
        yield asked


async def test_those_who_ask_while_a_report_is_made_share_it(autojump_clock: trio.testing.MockClock) -> None:
    """Also with an age of 0, with which each of them had one made for itself, one after the other."""
    reports: list[HealthReport] = []

    async def ask(asked: ActorRef[HealthRole]) -> None:
        reports.append(await asked.ask(GetHealth(0)))

    began = trio.current_time()
    async with _measured_by(trio.sleep_forever) as asked, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(ask, asked)
    assert trio.current_time() - began == PROBE_TIMEOUT_S
    assert reports == [reports[0]] * 8


async def test_an_asker_who_leaves_takes_the_report_from_nobody(autojump_clock: trio.testing.MockClock) -> None:
    measured = 0

    async def probe() -> dict[str, int]:
        nonlocal measured
        await trio.sleep(1)
        measured += 1
        return {"measured": measured}

    async with _measured_by(probe) as asked, trio.open_nursery() as nursery:
        nursery.start_soon(asked.ask, GetHealth(0))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            report = await asked.ask(GetHealth(0))
            assert [part.details for part in report.components] == [{"measured": 1}]
            assert await asked.ask(GetHealth(max_age_s=1)) is report
            assert await asked.ask(GetHealth(max_age_s=0.5)) is not report


async def test_a_measurement_that_crashes_answers_no_asker_with_an_older_report(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def probe() -> dict[str, int]:
        await trio.sleep(1)
        if trio.current_time() - began < 2:
            return {}
        raise RuntimeError("as it was told")

    began = trio.current_time()
    async with _measured_by(probe) as asked:
        await asked.ask(GetHealth(0))
        with pytest.raises(ActorStopped):
            await asked.ask(GetHealth(0))


def test_a_part_that_is_unwell_keeps_what_it_measured() -> None:
    unwell = PartUnwell("is full", {"free": 0})
    assert (str(unwell), unwell.details) == ("is full", {"free": 0})


async def test_a_database_without_room_is_unwell(autojump_clock: trio.testing.MockClock) -> None:
    class Full(_Database):
        @override
        async def probe(self, message: ProbeDatabase) -> DatabaseReading:
            return DatabaseReading("a database", 3, 1000)

    [report] = await _reports(_WELL, database_actor=Full)
    assert report.reasons == ("database: its device has only 1000 bytes free",)


class Role:
    """Crashes, waits and counts."""


@dataclass(frozen=True, slots=True)
class Crash(Message[Role]):
    """Crash."""


@dataclass(frozen=True, slots=True)
class Wait(Message[Role]):
    """Wait for good."""


class _Fragile(Actor[Role]):
    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"things done": 7}

    @handles(Crash)
    async def crash(self, message: Crash) -> None:  # noqa: ARG002 - as above
        raise RuntimeError("as it was told")

    @handles(Wait)
    async def wait(self, message: Wait) -> None:  # noqa: ARG002 - as above
        await trio.sleep_forever()


@asynccontextmanager
async def _fragile(*, busy_s_max: float | None = None) -> AsyncGenerator[tuple[ActorRef[Role], Probe]]:
    ref = ActorRef[Role]("fragile")
    spec = ActorSpec(ref=ref, factory=_Fragile, max_deliveries=1, shutdown_timeout_s=0)
    async with open_tree(SupervisorSpec(name="root", children=(spec,))):
        yield ref, probe_actor(ref, busy_s_max=busy_s_max)


async def test_an_actor_that_crashes_again_and_again_is_unwell_until_it_has_run_for_a_while(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with _fragile() as (ref, probe):
        assert await probe() == {"state": "running", "mailbox_depth": 0, "recent_crashes": 0, "things_done": 7}
        await ref.tell(Crash())
        await trio.sleep(1)
        assert (await probe())["recent_crashes"] == 1  # once may happen
        await ref.tell(Crash())
        await trio.sleep(1)
        detail = "crashed 2 times within 10 s, last with RuntimeError: as it was told"
        with pytest.raises(PartUnwell, match=detail) as unwell:
            await probe()
        assert unwell.value.details["state"] == "running"
        await trio.sleep(CRASHES_WITHIN_S)
        assert (await probe())["recent_crashes"] == 0


async def test_an_actor_that_is_down_is_unwell(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with _fragile() as (ref, probe):
        await ref.tell(Crash())
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(PartUnwell, match="the actor is backoff"):
            await probe()


async def test_what_waits_and_what_is_done_is_shown_with_its_age_and_held_against_a_budget(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with _fragile(busy_s_max=60) as (ref, probe):
        await ref.tell(Wait())
        await trio.sleep(2)
        await ref.tell(Wait())
        await trio.sleep(3)
        details = await probe()
        assert (details["current_message"], details["current_message_age_s"]) == ("Wait", 5)
        assert (details["mailbox_depth"], details["oldest_waiting_s"]) == (1, 3)
        await trio.sleep(60)
        with pytest.raises(PartUnwell, match="has been at Wait for more than 60 s"):
            await probe()


async def test_the_registry_is_measured_by_a_look_into_the_views() -> None:
    class Views:
        async def packages(self, _page: PackageListing) -> list[PackageRecord]:
            raise DatabaseUnavailable("a database", "it is gone")

    with pytest.raises(DatabaseUnavailable):
        await probe_registry(cast("EventStore", Views()))()
