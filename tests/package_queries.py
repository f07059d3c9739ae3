"""What the queries for packages must find, found by looking at every package."""

from collections.abc import Callable, Generator, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

from artifactstore_protocols.package_listing import EntryListing, EntryPage, PackageListing, position_of
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
from artifactstore_protocols.paths import path_key
from artifactstore_protocols.records import FileRecord, FoundEntry, PackageRecord

__all__ = ["find_among", "matching", "select_entries", "select_page"]


def find_among(
    text: str,
    packages: Iterable[PackageRecord],
    tags: Mapping[str, str] = MappingProxyType({}),
    *,
    prefer_open: bool = False,
) -> PackageRecord:
    """What `search_package` finds among these packages and tags; raises what it raises."""
    packages = list(packages)
    search: Generator[PackageQuery, list[PackageRecord], PackageRecord] = search_package(text, prefer_open=prefer_open)
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
        (record for record in created if record.finalized_sequence is not None and not record.is_gone),
        key=lambda record: -(record.finalized_sequence or 0),
    )
    match wanted:
        case ById(package_id):
            return [record for record in created if record.package_id == package_id]
        case ByPartOfId(text):
            return [
                record for record in created if record.package_id.startswith(text) or record.package_id.endswith(text)
            ]
        case ByName(name, back, until_us, before):
            named = [record for record in finalized if record.name == name]
            if until_us is not None:
                named = [record for record in named if (record.finalized_at_us or 0) < until_us]
            if before is not None:
                named = [record for record in named if (record.finalized_sequence or 0) < before]
            return named[back : back + 1]
        case OpenByName(name):
            return [record for record in created if record.name == name and record.status == "open"]
        case ByTag(tag):
            return [record for record in created if record.package_id == tags.get(tag)]
        case ByDigest(of, digest, gone):
            gone_ones = sorted(
                (each for each in created if each.is_gone), key=lambda each: -(each.finalized_sequence or 0)
            )
            by_digest = [
                record
                for record in (gone_ones if gone else finalized)
                if digest == (record.manifest_digest if of == "manifest" else record.tree_digest)
            ]
            return by_digest[:1]


def select_page(packages: Iterable[PackageRecord], page: PackageListing) -> list[PackageRecord]:
    """One page of a list of packages."""

    def position(package: PackageRecord) -> Any:  # noqa: ANN401 - of comparable values
        return position_of(package, page.sort)

    ordered = [each for each in sorted(packages, key=position, reverse=not page.ascending) if page.where.matches(each)]
    if page.after is not None:
        after: Any = page.after
        ordered = [each for each in ordered if (position(each) > after if page.ascending else position(each) < after)]
    return ordered[: page.limit]


def select_entries(
    packages: Iterable[PackageRecord], files: Callable[[str], Iterable[FileRecord]], page: EntryListing
) -> EntryPage:
    """One page of the entries that a search finds; `files` returns those of a package."""
    wanted = page.entries
    matches_path = wanted.path_matcher()
    sign = 1 if page.ascending else -1

    def matches(entry: FileRecord) -> bool:
        digests = {
            entry.content_address,
            entry.sha256,
            *(each.partition(":")[2] for each in (entry.content_address, entry.sha256)),
        }
        return matches_path(path_key(entry.path)) and wanted.digest in {None, *digests}

    found = [
        FoundEntry(package, entry)
        for package in sorted(packages, key=lambda each: sign * each.created_sequence)
        if page.packages.matches(package)
        for entry in sorted(files(package.package_id), key=lambda each: path_key(each.path))
        if matches(entry)
    ]
    if page.after is not None:
        number, key = page.after
        at = (sign * number, key)
        found = [each for each in found if (sign * each.package.created_sequence, path_key(each.entry.path)) > at]
    if len(found) < page.limit:
        return EntryPage(found, None)
    last = found[page.limit - 1]
    return EntryPage(found[: page.limit], (last.package.created_sequence, path_key(last.entry.path)))
