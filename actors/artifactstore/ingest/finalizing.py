"""Finalization of a package: its manifest, built from the views, and its result."""

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from artifactstore.version import VERSION
from artifactstore_protocols import manifest
from artifactstore_protocols.event_store import PackageContents
from artifactstore_protocols.identity import PRIMARY_ALGORITHM
from artifactstore_protocols.manifest import (
    Manifest,
    ManifestInvalid,
    ManifestPackage,
    ManifestSummary,
    Producer,
)
from artifactstore_protocols.packages import ProjectionDamaged
from artifactstore_protocols.records import FinalizedPackage, PackageRecord

__all__ = [
    "build_manifest",
    "counted_text",
    "entry_totals",
    "finalized_package",
    "newly_finalized",
    "recorded_totals",
]


def build_manifest(
    contents: PackageContents,
    *,
    principal: str,
    finalized_at_us: int,
    check_cancelled: Callable[[], None] = lambda: None,
) -> tuple[bytes, ManifestSummary]:
    """Return the canonical bytes of the package's manifest, and its summary.

    Takes seconds for 100,000 files: call it from a worker thread. `check_cancelled` raises after a cancellation.

    Raises:
        ManifestInvalid: the files have digests of several algorithms.
        ProjectionDamaged: the package's rows do not match its totals.
    """
    package, algorithms = contents.package, contents.digest_algorithms
    if len(algorithms) > 1:
        raise ManifestInvalid("digest_algorithm", f"the files have digests of {', '.join(sorted(algorithms))}")
    built = Manifest.build(
        package=ManifestPackage(
            package.package_id,
            package.name,
            package.created_at_us,
            finalized_at_us,
            package.metadata,
            package.schema,
            package.parents,
        ),
        entries=_cancellable(contents.entries, check_cancelled),
        storage_receipts=_cancellable(contents.receipts, check_cancelled),
        retention_class=package.retention_class,
        retention_duration_us=package.retention_duration_us,
        producer=Producer("artifactstore", VERSION),
        principal=principal,
        digest_algorithm=next(iter(algorithms), PRIMARY_ALGORITHM),
    )
    said, stated = built.provenance, recorded_totals(package)
    counted = said.file_count, said.link_count, said.directory_count, said.total_bytes
    if counted != stated:
        raise ProjectionDamaged(f"package {package.package_id}", counted_text(counted), counted_text(stated))
    check_cancelled()
    payload = manifest.encode(built)
    check_cancelled()
    return payload, manifest.summarize(payload, built)


def entry_totals(entries: Iterable[tuple[str, int]]) -> tuple[int, int, int, int]:
    """Return the numbers of files, of links and of empty directories, and the total size in bytes.

    Args:
        entries: kind and size in bytes of each entry.
    """
    counts = {"file": 0, "link": 0, "directory": 0}
    total_bytes = 0
    for kind, size_bytes in entries:
        counts[kind] += 1
        total_bytes += size_bytes
    return counts["file"], counts["link"], counts["directory"], total_bytes


def recorded_totals(package: PackageRecord) -> tuple[int, int, int, int]:
    """Return the totals that a package record states, in the form of `entry_totals`."""
    return package.files, package.links, package.directories, package.bytes


def counted_text(totals: tuple[int, int, int, int]) -> str:
    """Return the totals of `entry_totals` as text."""
    files, links, directories, size_bytes = totals
    return f"{files} files of {size_bytes} bytes, {links} links and {directories} empty directories"


def _cancellable[T](items: Iterable[T], check_cancelled: Callable[[], None]) -> Iterator[T]:
    for item in items:
        check_cancelled()
        yield item


def finalized_package(package: PackageRecord) -> FinalizedPackage:
    """Return the result of a finalization from the record of the finalized package."""
    if package.manifest_digest is None or package.tree_digest is None or package.finalized_sequence is None:
        raise AssertionError(f"package {package.package_id} is {package.status}")
    return FinalizedPackage(
        package_id=package.package_id,
        name=package.name,
        manifest_digest=package.manifest_digest,
        tree_digest=package.tree_digest,
        files=package.files,
        links=package.links,
        directories=package.directories,
        bytes=package.bytes,
        sequence=package.finalized_sequence,
    )


def newly_finalized(package: PackageRecord, summary: ManifestSummary, sequence: int) -> FinalizedPackage:
    """Return the result of the first finalization from the values that it committed."""
    digests = {"manifest_digest": summary.manifest_digest, "tree_digest": summary.tree_digest}
    return finalized_package(replace(package, **digests, finalized_sequence=sequence))
