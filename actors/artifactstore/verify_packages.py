"""The check of packages: their manifests agree with the tables, and their rows follow the rules of the log."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from artifactstore.environment import in_thread
from artifactstore.ingest.finalizing import counted_text, entry_totals, recorded_totals
from artifactstore_protocols import manifest
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.event_store import EventStore, PackageContents
from artifactstore_protocols.events import PayloadDiffers
from artifactstore_protocols.identity import ContentAddress, ContentDigests, Digest, digest_length
from artifactstore_protocols.links import check_target, escaping_links
from artifactstore_protocols.media_types import check_media_type
from artifactstore_protocols.package_listing import PackageListing
from artifactstore_protocols.packages import PackageGone
from artifactstore_protocols.paths import check_path, path_key, tree_order
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.redaction import ManifestRedacted

__all__ = ["ROW_FLAWS_NAMED", "CheckedPackages", "check_packages"]

_BATCH = 2048

ROW_FLAWS_NAMED = 100
"""The number of flawed rows after which the check names no more of them."""


class CheckedPackages(NamedTuple):
    """The number of manifests, the ids of packages whose manifest differs, and descriptions of flawed rows."""

    manifests: int
    differing: tuple[str, ...]
    row_flaws: tuple[str, ...]


async def check_packages(store: EventStore, package_id: str | None) -> CheckedPackages:
    """Check one package, or all."""
    checked, differing, row_flaws, after = 0, list[str](), list[str](), 0
    while batch := await _packages(store, package_id, after):
        for package in batch:
            try:
                contents = await store.contents(package.package_id)
            except PackageGone:
                if package_id is not None:
                    raise
                continue  # it went while this ran
            is_whole = contents.package.status == "finalized"
            try:
                agrees = is_whole and await _manifest_agrees(store, contents)
            except ManifestRedacted:  # nothing can have its digest any more; the rows are still checked
                is_whole = agrees = False
            if len(row_flaws) < ROW_FLAWS_NAMED:
                row_flaws += await in_thread(partial(_flaws_of, contents, entries_checked=agrees))
            if is_whole:
                checked += 1
                differing += [] if agrees else [package.package_id]
        after = batch[-1].created_sequence
        if package_id is not None:
            break
    return CheckedPackages(checked, tuple(differing), tuple(row_flaws))


async def _packages(store: EventStore, package_id: str | None, after: int) -> Sequence[PackageRecord]:
    if package_id is not None:
        return [await store.package(package_id)]
    return await store.packages(PackageListing(ascending=True, after=(after, after), limit=_BATCH))


async def _manifest_agrees(store: EventStore, contents: PackageContents) -> bool:
    """Return whether the stored manifest has the digests of the package and lists the entries of its rows."""
    try:
        payload = await store.manifest_bytes(contents.package.package_id)
    except PayloadDiffers:
        return False
    return await in_thread(lambda: _agrees(contents, payload))


def _flaws_of(contents: PackageContents, *, entries_checked: bool) -> list[str]:
    """Return the flaws in the rows of a package and its entries that no event could have caused.

    Args:
        contents: the rows.
        entries_checked: whether the entries equal those of the manifest. Decoding the manifest has checked them and
            their links.
    """
    package, entries, flaws = contents.package, contents.entries, list[str]()
    if not entries_checked:
        flaws += _flaws_of_entries(contents)
    keys = [path_key(entry.path) for entry in entries]
    if any(before >= after for before, after in pairwise(keys)):
        flaws.append(f"the entries of package {package.package_id} are not under the keys of their paths")
    counted = entry_totals((entry.kind, entry.size_bytes if entry.kind == "file" else 0) for entry in entries)
    if counted != (stated := recorded_totals(package)):
        said = f"package {package.package_id} says that it has {counted_text(stated)}"
        flaws.append(f"{said}, and has {counted_text(counted)}")
    return flaws


def _flaws_of_entries(contents: PackageContents) -> Iterator[str]:
    """Yield the flaws of the entries of a package, and links that lead out of it."""
    package_id = contents.package.package_id
    for entry in contents.entries:
        try:
            _check_entry(entry, contents.digest_algorithms)
        except ArtifactStoreError as error:
            yield f"a {entry.kind} of package {package_id}: {error}"
        if entry.kind == "file" and entry.size_bytes < 0:
            yield f"file {entry.path!r} of package {package_id} has {entry.size_bytes} bytes"
    links = {entry.path: entry.target for entry in contents.entries if entry.kind == "link"}
    if escaping := escaping_links(links, (entry.path for entry in contents.entries if entry.kind != "link")):
        yield f"links of package {package_id} lead out of it: {', '.join(map(repr, escaping))}"


def _check_entry(entry: manifest.Entry, algorithms: Collection[str]) -> None:
    """Raise an error if an entry breaks a rule of its kind."""
    check_path(entry.path)
    if entry.kind == "file":
        check_media_type(entry.media_type)
        sha256 = Digest("sha256", entry.sha256.hex())
        of_this_length = [name for name in algorithms if digest_length(name) == len(entry.digest)]
        if not of_this_length:
            raise InvalidValue("digest", entry.digest.hex(), f"no digest of {', '.join(algorithms)} has this length")
        if len(of_this_length) == 1:
            ContentDigests(Digest(of_this_length[0], entry.digest.hex()), sha256)
    elif entry.kind == "link":
        check_target(entry.path, entry.target)


def _agrees(contents: PackageContents, payload: bytes | None) -> bool:
    """Return whether a manifest has the package's digests and lists its entries."""
    if payload is None:
        return False
    try:
        listed = manifest.decode(payload)
    except ArtifactStoreError:
        return False
    package = contents.package
    entries = tuple(sorted(contents.entries, key=lambda entry: tree_order(entry.path)))
    digests = str(ContentAddress(manifest.manifest_digest(payload))), listed.provenance.tree_digest
    return (
        digests == (package.manifest_digest, package.tree_digest)
        and contents.digest_algorithms <= {listed.digest_algorithm}
        and entries == listed.entries
    )
