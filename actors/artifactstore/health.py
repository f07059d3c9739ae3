"""HealthActor: has every part of the store measured, and says what was found and when.

It stands beside the core, not in it, so it answers when the core has given up. Nothing it says is a constant: every
part of a report is a reading with its time, and a part that does not answer in time is unhealthy for that reason.
"""

from collections.abc import Mapping
from typing import override

import trio

from artifactstore.ids import now_us
from artifactstore.probes import PROBE_TIMEOUT_S, PartUnwell, Probe
from artifactstore.supervision import Actor, handles
from artifactstore.version import VERSION
from artifactstore_protocols.messages import GetHealth, HealthRole
from artifactstore_protocols.records import ComponentHealth, HealthReport
from artifactstore_protocols.supervision import Refusal

__all__ = ["HealthActor"]


class HealthActor(Actor[HealthRole]):
    """Answers how everything is.

    Args:
        probes: what to measure, by the name of the part; all of them run at once.
        pings: of the actors, likewise, but before the probes, whose own messages they would see waiting otherwise.
    """

    def __init__(self, probes: Mapping[str, Probe], pings: Mapping[str, Probe]) -> None:
        self._probes = probes
        self._pings = pings
        self._version = VERSION
        self._report: HealthReport | None = None
        self._reported_at = 0.0

    @override
    def state_summary(self) -> dict[str, str | int]:
        said = {None: "none", True: "healthy", False: "unhealthy"}
        return {"last report": said[None if self._report is None else self._report.healthy]}

    # Serial: askers that come while a report is being made find it fresh enough when it is their turn.
    @handles(GetHealth)
    async def get_health(self, message: GetHealth) -> HealthReport:
        """A report whose readings are no older than was asked."""
        report = self._report
        if report is None or trio.current_time() - self._reported_at > message.max_age_s:
            readings: dict[str, ComponentHealth] = {}
            self._reported_at = trio.current_time()
            for group in (self._pings, self._probes):
                async with trio.open_nursery() as nursery:
                    for name, probe in group.items():
                        nursery.start_soon(self._measure, name, probe, readings)
            report = HealthReport(
                version=self._version,
                answered_at_us=now_us(),
                components=tuple(readings[name] for name in (*self._probes, *self._pings)),
            )
            self._report = report
        return report

    async def _measure(self, name: str, probe: Probe, readings: dict[str, ComponentHealth]) -> None:
        began = trio.current_time()
        healthy, facts = False, dict[str, str | int | float]()
        detail = f"no answer within {PROBE_TIMEOUT_S:g} s"
        with trio.move_on_after(PROBE_TIMEOUT_S):
            try:
                facts.update(await probe())
                healthy, detail = True, "ok"
            except PartUnwell as unwell:
                detail = unwell.detail
                facts.update(unwell.facts)
            except Refusal as error:
                detail = str(error)
        readings[name] = ComponentHealth(name, healthy, detail, facts, trio.current_time() - began, now_us())
