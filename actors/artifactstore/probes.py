"""Health probes: one function for each checked part of a store, which does a small piece of the part's real work.

A probe returns its measurements, or raises `PartUnwell` with the problem and the measurements. The HealthActor sets the
time limit of a probe and decides what a `Refusal` means.
"""

from collections.abc import Awaitable, Callable, Mapping

import trio

from artifactstore.ids import now_us
from artifactstore.json_output import flagged_text
from artifactstore.supervision import ActorRef, Reading
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.messages import (
    DatabaseRole,
    ProbeDatabase,
    ProbeStorage,
    ProbeTails,
    ProjectionRole,
    StorageRole,
)
from artifactstore_protocols.package_listing import PackageListing
from artifactstore_protocols.unfinished_import import ImportUnfinished

__all__ = [
    "CRASHES_WITHIN_S",
    "PROBE_TIMEOUT_S",
    "Details",
    "PartUnwell",
    "Probe",
    "probe_actor",
    "probe_database",
    "probe_objects",
    "probe_registry",
    "probe_storage",
    "probe_tails",
]

PROBE_TIMEOUT_S = 5.0
"""Seconds that a part has to answer."""

CRASHES_WITHIN_S = 10.0
"""Seconds that a crash counts. An actor with more than one crash in that time is unhealthy, even while it runs."""

_FREE_BYTES_MIN = 64 << 20
_CRASHES_MAX = 1

type Details = Mapping[str, str | int | float]
type Probe = Callable[[], Awaitable[Details]]


class PartUnwell(Exception):
    """A probe found a problem. The error has the problem as text and everything that the probe measured."""

    def __init__(self, detail: str, details: Details) -> None:
        super().__init__(detail)
        self.detail = detail
        self.details = details


def probe_registry(store: EventStore) -> Probe:
    """Return a probe that reads one package and the totals from the tables, as the registry's read methods do."""

    async def probe() -> Details:
        await store.packages(PackageListing(limit=1))
        stats = await store.stats()
        return {
            "packages": stats.packages,
            "files": stats.files,
            "logical_bytes": stats.bytes,
            "stored_bytes": stats.object_bytes,
        }

    return probe


def probe_database(database: ActorRef[DatabaseRole]) -> Probe:
    """Return a probe that reads the head of the log and the free space of the database's device."""

    async def probe() -> Details:
        reading = await database.ask(ProbeDatabase(), timeout=PROBE_TIMEOUT_S)
        details: dict[str, str | int | float] = {"database": reading.database, "head": reading.head}
        if reading.store_id is not None:
            details["store_id"] = reading.store_id
        if reading.free_bytes is not None:
            details["free_bytes"] = reading.free_bytes
        if reading.read_only is not None:
            raise PartUnwell(f"the store is read-only because {reading.read_only}", details)
        if reading.unfinished is not None:
            end = reading.unfinished.end.sequence
            details |= {"import_end": end, "import_command": reading.unfinished.command}
            raise PartUnwell(str(ImportUnfinished(reading.head, end, reading.unfinished.command)), details)
        if reading.free_bytes is not None and reading.free_bytes < _FREE_BYTES_MIN:
            raise PartUnwell(f"its device has only {reading.free_bytes} bytes free", details)
        return details

    return probe


def probe_storage(storage: ActorRef[StorageRole]) -> Probe:
    """Return a probe that measures every backend: each writes, syncs, reads back and removes a small object."""

    async def probe() -> Details:
        details: dict[str, str | int | float] = {}
        for backend in await storage.ask(ProbeStorage(), timeout=PROBE_TIMEOUT_S):
            measured: dict[str, str | int | float | None] = {
                "free_bytes": backend.free_bytes,
                "total_bytes": backend.total_bytes,
                "free_inodes": backend.free_inodes,
                "canary_latency_s": backend.canary_latency_s,
                "failure_code": backend.failure_code,
            }
            details |= {f"{backend.backend_id}_{key}": found for key, found in measured.items() if found is not None}
            if backend.failure is not None:
                raise PartUnwell(f"backend {backend.backend_id}: {backend.failure}", details)
            if backend.free_bytes is not None and backend.free_bytes < _FREE_BYTES_MIN:
                raise PartUnwell(f"backend {backend.backend_id} has only {backend.free_bytes} bytes free", details)
        return details

    return probe


def probe_objects(store: EventStore) -> Probe:
    """Return a probe that counts the objects that are recorded as damaged or missing and are not repaired.

    It also measures the age of the last verification, and for how long nothing has read the object that was not read
    for the longest time. These ages make nothing unhealthy.
    """

    async def probe() -> Details:
        found = await store.flagged_counts()
        state, now = await store.verification_state(), now_us()
        details: dict[str, str | int | float] = {problem: found.get(problem, 0) for problem in ("damaged", "missing")}
        ages = {"last_verification_age_s": state.verified_at_us, "oldest_unverified_age_s": state.oldest_at_us}
        details |= {name: max(0, now - at_us) // 1_000_000 for name, at_us in ages.items() if at_us is not None}
        if found:
            remedy = "`artifactstore repair` names their files, and repairs them with --from"
            raise PartUnwell(f"objects: {flagged_text(found)}; {remedy}", details)
        return details

    return probe


def probe_tails(projection: ActorRef[ProjectionRole]) -> Probe:
    """Return a probe that measures how far the tails are behind the head.

    It reports a slow tail but never fails because of one: the reader of a tail sets its pace.
    """

    async def probe() -> Details:
        reading = await projection.ask(ProbeTails(), timeout=PROBE_TIMEOUT_S)
        return {"open": reading.tails, "lag_events": reading.lag_events}

    return probe


def probe_actor[Role](ref: ActorRef[Role], *, busy_s_max: float | None = None) -> Probe:
    """Return a probe that pings one actor. The actor's runtime answers even while a handler runs.

    Args:
        ref: the actor.
        busy_s_max: longest time in seconds that one message may take before the actor counts as unhealthy. None if a
            message can take hours.
    """

    async def probe() -> Details:
        reading = await ref.ping(timeout=PROBE_TIMEOUT_S)
        details = _details_of(reading)
        if not reading.answered:
            why = reading.why_down
            cause = "" if why is None else f"; last failure: {why.kind}: {why.text}"
            raise PartUnwell(f"the actor is {reading.state}{cause}", details)
        crashes = details["recent_crashes"]
        if isinstance(crashes, int) and crashes > _CRASHES_MAX:
            detail = f"crashed {crashes} times within {CRASHES_WITHIN_S:g} s, last with {reading.last_crash}"
            raise PartUnwell(f"the actor {detail}", details)
        if busy_s_max is not None and reading.current_age_s is not None and reading.current_age_s > busy_s_max:
            raise PartUnwell(f"the actor has been at {reading.current} for more than {busy_s_max:g} s", details)
        return details

    return probe


def _details_of(reading: Reading) -> dict[str, str | int | float]:
    since = trio.current_time() - CRASHES_WITHIN_S
    details: dict[str, str | int | float] = {
        "state": str(reading.state),
        "mailbox_depth": reading.depth,
        "recent_crashes": sum(at >= since for at in reading.crashed_at),
    }
    if reading.oldest_s is not None:
        details["oldest_waiting_s"] = reading.oldest_s
    if reading.current is not None and reading.current_age_s is not None:
        details |= {"current_message": reading.current, "current_message_age_s": reading.current_age_s}
    return details | {key.replace(" ", "_"): value for key, value in reading.summary.items()}
