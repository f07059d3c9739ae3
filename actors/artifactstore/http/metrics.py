"""Prometheus metrics in the text format, from a health report, the contents of the store and a supervision snapshot.

Each scrape translates them. This module counts only the HTTP requests itself. Metric names carry their units, and
counters end in `_total`. Labels have few values: components, actors, backends, the paths of the service, and the
package names that take most space.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import override

from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from artifactstore.http.overview import Overview
from artifactstore.http.space_metrics import space_metrics
from artifactstore_protocols.records import ComponentHealth, HealthReport
from artifactstore_protocols.supervision import ActorSnapshot, ChildState, SupervisorSnapshot

__all__ = ["METRICS_CONTENT_TYPE", "RequestCounts", "Sources", "exposition"]

METRICS_CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_PREFIX = "artifactstore"
_US = 1_000_000
_TOKENS_MAX = 1000
_OTHER = "*"
"""The label of further tokens. No token has this name."""

_BACKEND_GAUGES = {
    "free_bytes": ("storage_free_bytes", "Bytes that may still be written to a storage backend."),
    "total_bytes": ("storage_size_bytes", "Size of a storage backend's device."),
    "free_inodes": ("storage_free_inodes", "Files that may still be made in a storage backend."),
    "canary_latency_s": ("storage_canary_seconds", "Time to write, sync, read back and remove a small object."),
}
_VERIFICATION_GAUGES = {
    "last_verification_age_s": ("verification_age_seconds", "Time since objects of the store were last verified."),
    "oldest_unverified_age_s": (
        "oldest_unverified_seconds",
        "For how long neither an ingest nor a verification has read the object that was not read longest.",
    ),
}
_TAILS_GAUGES = {
    "open": ("tails_open", "Tails of the log that this process feeds."),
    "lag_events": ("tails_lag_events", "How many events the slowest of them is behind the head of the log."),
}


class RequestCounts:
    """Counters of HTTP requests by path, method and status, and by token. Unknown paths count as `other`."""

    def __init__(self) -> None:
        self._counts = Counter[tuple[str, str, str]]()
        self._of_tokens = Counter[str]()

    def count(self, path: str, method: str, status: int, token: str | None = None) -> None:
        """Add one request, of a token if it had a valid one."""
        self._counts[path, method, str(status)] += 1
        if token is not None:
            known = token in self._of_tokens or len(self._of_tokens) < _TOKENS_MAX
            self._of_tokens[token if known else _OTHER] += 1

    def families(self) -> Iterable[Metric]:
        """Yield all counters."""
        of_tokens = CounterMetricFamily(
            f"{_PREFIX}_http_token_requests", "Requests with a valid token.", labels=("token",)
        )
        yield _by_label(of_tokens, self._of_tokens.items())
        labels = ("path", "method", "status")
        family = CounterMetricFamily(f"{_PREFIX}_http_requests", "Requests that were answered.", labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        yield family


class Sources(Struct, frozen=True):
    """The values that one scrape translates.

    Attributes:
        report: the latest health report; None if the health actor is down.
        tree: a snapshot of the supervision tree; None while the tree is starting.
        connections: number of open connections to the service.
        streams: number of open event streams.
        contents: the contents of the store; None if they cannot be read.
    """

    report: HealthReport | None
    tree: SupervisorSnapshot | None
    connections: int
    streams: int
    contents: Overview | None = None


def exposition(sources: Sources, counts: RequestCounts) -> bytes:
    """Return all metrics in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(sources, counts))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collector(Collector):
    """The collector of one scrape: it yields the metrics of its sources."""

    def __init__(self, sources: Sources, counts: RequestCounts) -> None:
        self._sources = sources
        self._counts = counts

    @override
    def collect(self) -> Iterable[Metric]:
        sources = self._sources
        report, tree = sources.report, sources.tree
        yield _gauge("healthy", "1 if every component is, 0 if not.", float(report is not None and report.healthy))
        yield _gauge("http_connections", "Connections that are open to the service.", sources.connections)
        yield _gauge("http_event_streams", "Streams of events that are open.", sources.streams)
        yield from self._counts.families()
        if report is not None:
            info = InfoMetricFamily(f"{_PREFIX}_build", "The release that runs.")
            info.add_metric((), {"version": report.version})
            yield info
            yield from _components(report)
            yield from _readings({part.name: part for part in report.components})
        if sources.contents is not None:
            yield from space_metrics(_PREFIX, sources.contents)
        if tree is not None:
            yield from _actors([found for found in tree.walk() if isinstance(found, ActorSnapshot)])
            yield from _supervisors([found for found in tree.walk() if isinstance(found, SupervisorSnapshot)])


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def _by_label(family: GaugeMetricFamily | CounterMetricFamily, values: Iterable[tuple[str, float]]) -> Metric:
    for label, value in values:
        family.add_metric((label,), value)
    return family


def _gauges(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    return _by_label(GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=(label,)), values)


def _components(report: HealthReport) -> Iterable[Metric]:
    parts, label = report.components, "component"
    yield _gauges("component_up", "1 if it is well.", label, ((part.name, float(part.healthy)) for part in parts))
    latencies = ((part.name, part.latency_s) for part in parts)
    yield _gauges("component_probe_seconds", "Time that measuring it took.", label, latencies)
    yield _gauges(
        "component_measured_timestamp_seconds",
        "When it was measured, in Unix time.",
        label,
        ((part.name, part.measured_at_us / _US) for part in parts),
    )


def _readings(parts: Mapping[str, ComponentHealth]) -> Iterable[Metric]:
    """Yield the metrics from the details of the database, the tails, the objects, the storage and the event writer."""
    if (head := _number(parts, "database", "head")) is not None:
        yield _gauge("log_head_sequence", "The last sequence of the log.", head)
    if (free := _number(parts, "database", "free_bytes")) is not None:
        yield _gauge("database_free_bytes", "Bytes left on the device of the database.", free)
    for fact, (name, text) in _TAILS_GAUGES.items():
        if (number := _number(parts, "tails", fact)) is not None:
            yield _gauge(name, text, number)
    flagged = [(problem, _number(parts, "objects", problem)) for problem in ("damaged", "missing")]
    yield _gauges(
        "objects_flagged",
        "Objects that verification found flawed and nobody has repaired.",
        "problem",
        ((problem, count) for problem, count in flagged if count is not None),
    )
    for fact, (name, text) in _VERIFICATION_GAUGES.items():
        if (age_s := _number(parts, "objects", fact)) is not None:
            yield _gauge(name, text, age_s)
    for fact, (name, text) in _BACKEND_GAUGES.items():
        found = {
            key.removesuffix(f"_{fact}"): float(value)
            for key, value in parts["storage"].details.items()
            if key.endswith(f"_{fact}")
        }
        if found:
            yield _gauges(name, text, "backend", found.items())
    for fact, text in {"transactions": "Transactions committed", "events": "Events written"}.items():
        if (count := _number(parts, "actor:event-writer", fact)) is not None:
            yield CounterMetricFamily(f"{_PREFIX}_writer_{fact}", f"{text} by the writer since it started.", count)


def _number(parts: Mapping[str, ComponentHealth], part: str, fact: str) -> float | None:
    """Return a detail of a component as a number; None if the component does not report it."""
    value = parts[part].details.get(fact)
    return None if value is None else float(value)


def _actors(actors: list[ActorSnapshot]) -> Iterable[Metric]:
    def gauges(name: str, text: str, values: Iterable[tuple[str, float]]) -> Metric:
        return _gauges(name, text, "actor", values)

    yield gauges(
        "actor_running", "1 if it is.", ((each.path, float(each.state is ChildState.RUNNING)) for each in actors)
    )
    starts = CounterMetricFamily(f"{_PREFIX}_actor_starts", "How often it was started.", labels=("actor",))
    yield _by_label(starts, ((each.path, each.starts) for each in actors))
    boxes = [(each.path, each.mailbox) for each in actors]
    yield gauges("actor_mailbox_messages", "Messages that wait.", ((path, box.depth) for path, box in boxes))
    yield gauges("actor_mailbox_messages_peak", "The most that ever waited.", ((p, box.depth_peak) for p, box in boxes))
    yield gauges("actor_mailbox_bytes", "Their bytes.", ((path, box.size_bytes) for path, box in boxes))
    yield gauges(
        "actor_oldest_waiting_seconds",
        "How long the oldest of them has waited; 0 when none waits.",
        ((path, box.oldest_s or 0.0) for path, box in boxes),
    )
    yield gauges("actor_working_messages", "Handlers in flight.", ((each.path, len(each.work)) for each in actors))
    yield gauges(
        "actor_longest_working_seconds",
        "How long the oldest of them has run; 0 when none runs.",
        ((each.path, max((work.age_s for work in each.work), default=0.0)) for each in actors),
    )


def _supervisors(supervisors: list[SupervisorSnapshot]) -> Iterable[Metric]:
    yield _gauges(
        "supervisor_recent_restarts",
        "Restarts that count against its limit now.",
        "supervisor",
        ((each.path, each.restarts_in_period) for each in supervisors),
    )
