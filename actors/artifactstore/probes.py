"""What health is measured with: one probe for each part, each a small piece of the part's real work.

A probe returns what it measured, or raises `PartUnwell` with what is wrong and what it measured all the same. How long
it may take, and what a refusal means, is the HealthActor's business.
"""

from collections.abc import Awaitable, Callable, Mapping

import trio

from artifactstore.json_output import flagged_text
from artifactstore.supervision import ActorRef, Reading
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.imports import ImportUnfinished
from artifactstore_protocols.messages import (
    DatabaseRole,
    ProbeDatabase,
    ProbeStorage,
    ProbeTails,
    ProjectionRole,
    StorageRole,
)

__all__ = [
    "CRASHES_WITHIN_S",
    "PROBE_TIMEOUT_S",
    "Details",
    "PartUnwell",
    "Probe",
    "probe_database",
    "probe_objects",
    "probe_registry",
    "probe_storage",
    "probe_tails",
    "watch",
]

PROBE_TIMEOUT_S = 5.0
"""How long a part may take to answer."""

CRASHES_WITHIN_S = 10.0
"""How long a crash is remembered: an actor that crashed more than once in that time is unwell, though it runs."""

_FREE_BYTES_MIN = 64 << 20
_CRASHES_MAX = 1

type Details = Mapping[str, str | int | float]
type Probe = Callable[[], Awaitable[Details]]


class PartUnwell(Exception):
    """A probe found something wrong: what, and what it measured all the same."""

    def __init__(self, detail: str, details: Details) -> None:
        super().__init__(detail)
        self.detail = detail
        self.details = details


def probe_registry(store: EventStore) -> Probe:
    """Reads the views as every caller of the registry does."""

    async def probe() -> Details:
        await store.packages(after=0, limit=1)
        return {}

    return probe


def probe_database(database: ActorRef[DatabaseRole]) -> Probe:
    """Reads the head of the log, and looks for room on its device."""

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
    """Measures every backend, which writes, syncs, reads back and removes a small object."""

    async def probe() -> Details:
        details: dict[str, str | int | float] = {}
        for backend in await storage.ask(ProbeStorage(), timeout=PROBE_TIMEOUT_S):
            measured = {
                "free_bytes": backend.free_bytes,
                "total_bytes": backend.total_bytes,
                "free_inodes": backend.free_inodes,
                "canary_latency_s": backend.canary_latency_s,
            }
            details |= {f"{backend.backend_id}_{key}": found for key, found in measured.items() if found is not None}
            if backend.failure is not None:
                raise PartUnwell(f"backend {backend.backend_id}: {backend.failure}", details)
            if backend.free_bytes is not None and backend.free_bytes < _FREE_BYTES_MIN:
                raise PartUnwell(f"backend {backend.backend_id} has only {backend.free_bytes} bytes free", details)
        return details

    return probe


def probe_objects(store: EventStore) -> Probe:
    """Counts the objects that verification found damaged or missing and that nobody has healed."""

    async def probe() -> Details:
        found = await store.flagged_counts()
        details = {problem: found.get(problem, 0) for problem in ("damaged", "missing")}
        if found:
            remedy = "`artifactstore verify` names their files, and ingesting those again heals them"
            raise PartUnwell(f"objects: {flagged_text(found)}; {remedy}", details)
        return details

    return probe


def probe_tails(projection: ActorRef[ProjectionRole]) -> Probe:
    """Looks how far the tails are behind the head. One that is slow is its reader's affair: it is shown, not blamed."""

    async def probe() -> Details:
        reading = await projection.ask(ProbeTails(), timeout=PROBE_TIMEOUT_S)
        return {"open": reading.tails, "lag_events": reading.lag_events}

    return probe


def watch[Role](ref: ActorRef[Role], *, busy_s_max: float | None = None) -> Probe:
    """Pings one actor: its runtime answers even while a handler runs.

    Args:
        ref: the actor.
        busy_s_max: the budget of its messages, in seconds: an actor that has been longer at one is unwell. None where
            a message may rightly take hours.
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
