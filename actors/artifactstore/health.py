"""`HealthActor`: the actor that runs the health checks of all components and reports their results.

It runs beside the core actors, so it answers even if the core has given up. Each component of a report is a measurement
with its time. A component that does not answer in time is unhealthy.
"""

import math
from collections.abc import Mapping
from typing import override

import trio

from artifactstore.ids import now_us
from artifactstore.probes import PROBE_TIMEOUT_S, PartUnwell, Probe
from artifactstore.supervision import Actor, Concurrent, handles
from artifactstore.version import VERSION
from artifactstore_protocols.messages import GetHealth, HealthRole
from artifactstore_protocols.records import ComponentHealth, HealthReport
from artifactstore_protocols.supervision import Refusal

__all__ = ["HealthActor"]

_ASKERS = 1024
"""How many requests may wait for a report concurrently; further requests wait in the mailbox."""


class HealthActor(Actor[HealthRole]):
    """The actor that answers with the health report of the store.

    Args:
        probes: probes by the name of the component. They run concurrently.
        pings: probes of the actors, by name. They run concurrently before `probes`, since messages of the other probes
            would count as waiting in the mailboxes of the actors.
    """

    def __init__(self, probes: Mapping[str, Probe], pings: Mapping[str, Probe]) -> None:
        self._probes = probes
        self._pings = pings
        self._version = VERSION
        self._report: HealthReport  # the latest; unset before the first measurement
        self._measured_at = -math.inf
        self._under_way: trio.Event | None = None

    @override
    def state_summary(self) -> dict[str, str | int]:
        if self._measured_at == -math.inf:
            return {"last report": "none"}
        return {"last report": "healthy" if self._report.healthy else "unhealthy"}

    @handles(GetHealth, mode=Concurrent(_ASKERS))
    async def get_health(self, message: GetHealth) -> HealthReport:
        """Return the latest report, or a new one if that is older than asked. Concurrent requests share a report."""
        if trio.current_time() - self._measured_at > message.max_age_s:
            if self._under_way is None:
                self._under_way = trio.Event()
                # A task of the actor, so that a cancelled request does not cancel the report of the others.
                self.context.start_child("measuring", self._measure_all, self._under_way)
            await self._under_way.wait()
        return self._report

    async def _measure_all(self, over: trio.Event) -> None:
        readings: dict[str, ComponentHealth] = {}
        began = trio.current_time()
        for group in (self._pings, self._probes):
            async with trio.open_nursery() as nursery:
                for name, probe in group.items():
                    nursery.start_soon(self._measure, name, probe, readings)
        self._report = HealthReport(
            version=self._version,
            answered_at_us=now_us(),
            components=tuple(readings[name] for name in (*self._probes, *self._pings)),
        )
        self._measured_at = began
        self._under_way = None
        over.set()

    async def _measure(self, name: str, probe: Probe, readings: dict[str, ComponentHealth]) -> None:
        began = trio.current_time()
        healthy, details = False, dict[str, str | int | float]()
        detail = f"no answer within {PROBE_TIMEOUT_S:g} s"
        with trio.move_on_after(PROBE_TIMEOUT_S):
            try:
                details.update(await probe())
                healthy, detail = True, "ok"
            except PartUnwell as unwell:
                detail = unwell.detail
                details.update(unwell.details)
            except Refusal as error:
                detail = str(error)
        readings[name] = ComponentHealth(name, healthy, detail, details, trio.current_time() - began, now_us())
