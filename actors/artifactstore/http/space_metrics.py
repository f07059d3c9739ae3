"""The metrics of the contents of a store: packages, bytes, and what expiry and garbage collection have done.

All but the sizes by name come from the totals that the log maintains, so they are right after a restart and for work of
other processes. Only the names that take most space have a label: see `overview.NAMES_MAX`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from artifactstore.http.overview import Overview
from artifactstore_protocols.disk_usage import NameUsage
from artifactstore_protocols.store_stats import StoreStats

__all__ = ["space_metrics"]

_GAUGES: Final = {
    "packages": ("packages", "Packages that are not deleted and have not expired."),
    "files": ("files", "Files in these packages."),
    "bytes": ("logical_bytes", "Size of these files."),
    "objects": ("objects", "Objects: each content once for each backend."),
    "object_bytes": ("stored_bytes", "Size of these objects."),
    "condemned": ("objects_condemned", "Objects that no package needs, which wait for a collection and its grace."),
    "condemned_bytes": ("condemned_bytes", "Size of these objects."),
    "unreleased": (
        "unreleased_entries",
        "Entries of deleted and expired packages, until the next collection.",
    ),
    "unreleased_bytes": ("unreleased_bytes", "Size of these files. What other packages hold too is not given back."),
}
_COUNTERS: Final = {
    "deleted": ("packages_deleted", "Packages that were deleted."),
    "expired": ("packages_expired", "Packages that have expired."),
    "retired": ("objects_retired", "Objects that were retired, which a collection deletes at once. No orphans."),
    "retired_bytes": ("retired_bytes", "Size of these objects."),
    "removed": ("objects_removed", "Objects whose bytes were deleted, and orphans."),
}
_RUNS: Final = {
    "last_backup": ("backup_timestamp_seconds", "When this database last made a complete backup, in Unix time."),
    "last_collection": ("collection_timestamp_seconds", "When it last collected garbage, in Unix time."),
}
_US: Final = 1_000_000


def space_metrics(prefix: str, found: Overview) -> Iterable[Metric]:
    """Yield the metrics of the contents of a store.

    Args:
        prefix: the beginning of each name.
        found: the contents.
    """
    stats: StoreStats = found.stats
    for fact, (name, text) in _GAUGES.items():
        yield GaugeMetricFamily(f"{prefix}_{name}", text, value=getattr(stats, fact))
    for fact, (name, text) in _COUNTERS.items():
        yield CounterMetricFamily(f"{prefix}_{name}", f"{text} Since the store began.", value=getattr(stats, fact))
    for fact, (name, text) in _RUNS.items():
        if (last := getattr(stats, fact)) is not None:
            yield GaugeMetricFamily(f"{prefix}_{name}", text, value=last.ended_at_us / _US)
    if (at_us := stats.verification.verified_at_us) is not None:
        text = "When objects were last verified, in Unix time."
        yield GaugeMetricFamily(f"{prefix}_verification_timestamp_seconds", text, value=at_us / _US)
    yield from _by_name(prefix, found.names)


def _by_name(prefix: str, names: Sequence[NameUsage]) -> Iterable[Metric]:
    text = "of the packages of a name, for the names that take most."
    for metric, said, value in (
        ("name_logical_bytes", f"Size of all files {text}", [each.bytes for each in names]),
        ("name_stored_bytes", f"Size of the contents that were new {text}", [each.stored_bytes for each in names]),
        ("name_packages", f"Number {text}", [each.packages for each in names]),
    ):
        family = GaugeMetricFamily(f"{prefix}_{metric}", said, labels=("name",))
        for usage, number in zip(names, value, strict=True):
            family.add_metric((usage.name,), number)
        yield family
