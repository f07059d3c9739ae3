"""A service repeats its jobs, however one run ends."""

import logging

import pytest
import trio
import trio.testing

from artifactstore.http.maintenance import FIRST_RUN_S, Job, JobResult, Maintenance, MaintenanceRole
from artifactstore.supervision import ActorRef, ActorSpec, SupervisorSpec, open_tree
from artifactstore_protocols.errors import InvalidValue

_HOUR_S = 3600.0


def _tree(*jobs: Job) -> SupervisorSpec:
    ref = ActorRef[MaintenanceRole]("maintenance")
    return SupervisorSpec(name="root", children=(ActorSpec(ref=ref, factory=lambda: Maintenance(jobs)),))


async def test_each_job_runs_soon_after_the_start_and_then_at_its_period(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ran = list[tuple[str, float]]()

    def job(name: str, every_s: float) -> Job:
        async def run() -> JobResult:
            ran.append((name, trio.current_time() - began))
            return JobResult("done")

        return Job(name, every_s, run)

    began = trio.current_time()
    async with open_tree(_tree(job("gc", 2 * _HOUR_S), job("expire", 60.0))):
        await trio.sleep(2 * _HOUR_S + FIRST_RUN_S + 1)
    assert [at for name, at in ran if name == "gc"] == [FIRST_RUN_S, FIRST_RUN_S + 2 * _HOUR_S]
    assert [at for name, at in ran if name == "expire"][:3] == [60.0, 120.0, 180.0]


async def test_a_refused_run_is_logged_and_the_next_one_comes_at_its_time(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    results = [JobResult("2 expired"), JobResult("3 damaged", is_well=False)]
    errors = [InvalidValue("clock", "2100", "it is wrong")]

    async def run() -> JobResult:
        if errors:
            raise errors.pop()
        return results.pop(0)

    with caplog.at_level(logging.INFO, "artifactstore.maintenance"):
        async with open_tree(_tree(Job("expire", _HOUR_S, run))):
            await trio.sleep(FIRST_RUN_S + 2 * _HOUR_S + 1)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "expire: invalid clock '2100': it is wrong"),
        ("INFO", "expire: 2 expired"),
        ("WARNING", "expire: 3 damaged"),
    ]


async def test_a_long_run_is_not_overtaken_by_the_next(autojump_clock: trio.testing.MockClock) -> None:
    running = most = 0

    async def run() -> JobResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(10 * _HOUR_S)
        running -= 1
        return JobResult("done")

    async with open_tree(_tree(Job("verify", _HOUR_S, run))):
        await trio.sleep(40 * _HOUR_S)
    assert most == 1
