"""HealthActor: measures the other actors, the database and the storage, and says what it found and when.

It stands beside the core, not in it, so it answers when the core has given up. Nothing it says is a constant: every
part of a report is a reading with its time, and a part that does not answer in time is unhealthy for that reason.
"""

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import override

import trio

from artifactstore.ids import now_us
from artifactstore.supervision import Actor, ActorRef, handles
from artifactstore_protocols.messages import (
    DatabaseRole,
    GetHealth,
    HealthRole,
    ProbeDatabase,
    ProbeStorage,
    StorageRole,
)
from artifactstore_protocols.records import ComponentHealth, HealthReport
from artifactstore_protocols.supervision import Refusal

__all__ = ["HealthActor", "PartUnwell", "Probe", "watch"]

_PROBE_TIMEOUT_S = 5.0
_FREE_BYTES_MIN = 64 << 20

type Facts = Mapping[str, str | int | float]
type Probe = Callable[[], Awaitable[Facts]]


class PartUnwell(Exception):
    """A probe found something wrong: what, and what it measured all the same."""

    def __init__(self, detail: str, facts: Facts) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts


class HealthActor(Actor[HealthRole]):
    """Answers how everything is.

    Args:
        database: asked for the head of the log.
        storage: asked for free space and a canary.
        watched: the actors that are pinged on their system lanes.
    """

    def __init__(
        self,
        database: ActorRef[DatabaseRole],
        storage: ActorRef[StorageRole],
        watched: Mapping[str, Probe],
    ) -> None:
        self._probes: dict[str, Probe] = {
            "database": self._probe_database,
            "storage": self._probe_storage,
            **watched,
        }
        self._database = database
        self._storage = storage
        self._report: HealthReport | None = None
        self._reported_at = 0.0

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"last report": "none" if self._report is None else str(self._report.healthy)}

    # Serial: askers that come while a report is being made find it fresh enough when it is their turn.
    @handles(GetHealth)
    async def get_health(self, message: GetHealth) -> HealthReport:
        """A report whose readings are no older than was asked."""
        report = self._report
        if report is None or trio.current_time() - self._reported_at > message.max_age_s:
            readings: dict[str, ComponentHealth] = {}
            self._reported_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                for name, probe in self._probes.items():
                    nursery.start_soon(self._measure, name, probe, readings)
            report = HealthReport(
                version=version("artifactstore-actors"),
                answered_at_us=now_us(),
                components=tuple(readings[name] for name in self._probes),
            )
            self._report = report
        return report

    async def _measure(self, name: str, probe: Probe, readings: dict[str, ComponentHealth]) -> None:
        began = trio.current_time()
        healthy, facts = False, dict[str, str | int | float]()
        detail = f"no answer within {_PROBE_TIMEOUT_S:g} s"
        with trio.move_on_after(_PROBE_TIMEOUT_S):
            try:
                facts.update(await probe())
                healthy, detail = True, "ok"
            except PartUnwell as unwell:
                detail = unwell.detail
                facts.update(unwell.facts)
            except Refusal as error:
                detail = str(error)
        readings[name] = ComponentHealth(name, healthy, detail, facts, trio.current_time() - began, now_us())

    async def _probe_database(self) -> Facts:
        reading = await self._database.ask(ProbeDatabase(), timeout=_PROBE_TIMEOUT_S)
        return {"database": reading.database, "head": reading.head}

    async def _probe_storage(self) -> Facts:
        facts: dict[str, str | int | float] = {}
        for backend in await self._storage.ask(ProbeStorage(), timeout=_PROBE_TIMEOUT_S):
            measured = {
                "free_bytes": backend.free_bytes,
                "total_bytes": backend.total_bytes,
                "free_inodes": backend.free_inodes,
                "canary_latency_s": backend.canary_latency_s,
            }
            facts |= {f"{backend.backend_id}_{key}": found for key, found in measured.items() if found is not None}
            if backend.failure is not None:
                raise PartUnwell(f"backend {backend.backend_id}: {backend.failure}", facts)
            if backend.free_bytes is not None and backend.free_bytes < _FREE_BYTES_MIN:
                raise PartUnwell(f"backend {backend.backend_id} has only {backend.free_bytes} bytes free", facts)
        return facts


def watch[Role](ref: ActorRef[Role]) -> Probe:
    """A probe of one actor: its runtime answers even while a handler runs."""

    async def probe() -> Facts:
        reading = await ref.ping(timeout=_PROBE_TIMEOUT_S)
        facts: dict[str, str | int | float] = {"state": str(reading.state), "mailbox_depth": reading.depth}
        if reading.current is not None and reading.current_age_s is not None:
            facts |= {"current_message": reading.current, "current_message_age_s": reading.current_age_s}
        if not reading.answered:
            why = reading.why_down
            cause = "" if why is None else f"; last failure: {why.kind}: {why.text}"
            raise PartUnwell(f"the actor is {reading.state}{cause}", facts)
        return facts

    return probe
