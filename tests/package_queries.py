"""The packages that match a query of `search_package`, found by looking at every one: what each index must find."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import cast

from artifactstore_protocols.package_references import (
    ByDigest,
    ById,
    ByName,
    ByPartOfId,
    ByTag,
    OpenByName,
    PackageQuery,
    search_package,
)
from artifactstore_protocols.records import PackageRecord

__all__ = ["find_among", "matching"]


def find_among(
    text: str,
    packages: Iterable[PackageRecord],
    tags: Mapping[str, str] = MappingProxyType({}),
    *,
    prefer_open: bool = False,
) -> PackageRecord:
    """What `search_package` finds among these packages and tags; raises what it raises."""
    packages = list(packages)
    search = search_package(text, prefer_open=prefer_open)
    try:
        wanted = next(search)
        while True:
            wanted = search.send(matching(wanted, packages, tags))
    except StopIteration as end:
        return cast("PackageRecord", end.value)


def matching(
    wanted: PackageQuery, packages: Iterable[PackageRecord], tags: Mapping[str, str] = MappingProxyType({})
) -> list[PackageRecord]:
    """Of all packages those that match, in the order that the query asks for. `tags` are package ids by tag."""
    created = sorted(packages, key=lambda record: -record.created_sequence)
    finalized = sorted(
        (record for record in created if record.finalized_sequence is not None),
        key=lambda record: -(record.finalized_sequence or 0),
    )
    match wanted:
        case ById(package_id):
            return [record for record in created if record.package_id == package_id]
        case ByPartOfId(text):
            return [
                record for record in created if record.package_id.startswith(text) or record.package_id.endswith(text)
            ]
        case ByName(name, back, until_us):
            named = [record for record in finalized if record.name == name]
            if until_us is not None:
                named = [record for record in named if (record.finalized_at_us or 0) < until_us]
            return named[back : back + 1]
        case OpenByName(name):
            return [record for record in created if record.name == name and record.status == "open"]
        case ByTag(tag):
            return [record for record in created if record.package_id == tags.get(tag)]
        case ByDigest(of, digest):
            by_digest = [
                record
                for record in finalized
                if digest == (record.manifest_digest if of == "manifest" else record.tree_digest)
            ]
            return by_digest[:1]
