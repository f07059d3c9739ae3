"""HealthActor: has every part of the store measured, and says what was found and when.

It stands beside the core, not in it, so it answers when the core has given up. Nothing it says is a constant: every
part of a report is a reading with its time, and a part that does not answer in time is unhealthy for that reason.
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
"""How many wait for one report at a time; further ones wait for their turn."""


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
        self._report: HealthReport  # the latest, once there is one
        self._measured_at = -math.inf
        self._under_way: trio.Event | None = None

    @override
    def state_summary(self) -> dict[str, str | int]:
        if self._measured_at == -math.inf:
            return {"last report": "none"}
        return {"last report": "healthy" if self._report.healthy else "unhealthy"}

    @handles(GetHealth, mode=Concurrent(_ASKERS))
    async def get_health(self, message: GetHealth) -> HealthReport:
        """A report that is no older than was asked, or the one that is being made: its askers share it."""
        if trio.current_time() - self._measured_at > message.max_age_s:
            if self._under_way is None:
                self._under_way = trio.Event()
                # A task of the actor, so that an asker who leaves takes the report from nobody.
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
