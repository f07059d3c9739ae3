"""However many ask for a report, it is measured once a second."""

import pytest
import trio
import trio.testing

from artifactstore.http.readings import AGE_MAX_S, Readings
from artifactstore_protocols.records import HealthReport
from artifactstore_protocols.supervision import ActorStopped


class Measuring:
    """Measures for a while, and fails when it is told to."""

    def __init__(self) -> None:
        self.reports: list[HealthReport] = []
        self.fails = False

    async def __call__(self) -> HealthReport:
        await trio.sleep(0.5)
        if self.fails:
            raise ActorStopped("root/health", "GetHealth", may_have_taken_effect=False)
        self.reports.append(HealthReport("1.0", len(self.reports), ()))
        return self.reports[-1]


async def test_all_that_ask_meanwhile_get_the_same_report(autojump_clock: trio.testing.MockClock) -> None:
    measuring = Measuring()
    readings = Readings(measuring)
    got: list[HealthReport] = []

    async def ask() -> None:
        got.append(await readings.report())

    for _ in range(2):  # the second time it is fresh enough
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
    assert got == [measuring.reports[0]] * 20
    await trio.sleep(AGE_MAX_S)
    assert await readings.report() is measuring.reports[1]


async def test_who_waits_goes_on_measuring_when_the_one_that_measures_leaves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    measuring = Measuring()
    readings = Readings(measuring)
    got: list[HealthReport] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await readings.report())

    impatient, patient = trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, impatient)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, patient)
        await trio.testing.wait_all_tasks_blocked()
        impatient.cancel()
    assert got == measuring.reports
    assert len(got) == 1


async def test_a_refusal_is_not_kept(autojump_clock: trio.testing.MockClock) -> None:
    measuring = Measuring()
    readings = Readings(measuring)
    measuring.fails = True
    with pytest.raises(ActorStopped):
        await readings.report()
    measuring.fails = False
    assert await readings.report() is measuring.reports[0]
