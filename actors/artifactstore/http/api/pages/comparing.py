"""The page that compares two packages. It is bounded: large packages are for the command line."""

from typing import Annotated, Final

from msgspec import Meta, Struct, field

from artifactstore.environment import in_thread
from artifactstore.http.api.model import Answer, Call, FreshQuery
from artifactstore.http.api.pages.html import page
from artifactstore.http.api.sending import Places
from artifactstore.registry import event_store
from artifactstore_protocols.package_diff import DiffTotals, changes_between, diff_totals
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import EntryChange, PackageRecord

__all__ = ["CHANGES_MAX", "COMPARED_MAX", "TEMPLATE", "CompareQuery", "compare_packages"]

TEMPLATE: Final = "/packages/{package}/compare"

COMPARED_MAX: Final = 20_000
"""The most entries of two packages together that the page compares."""

CHANGES_MAX: Final = 500
"""The most changes that the page shows."""

_comparisons = Places(2)  # of the process, whose memory they bound


class CompareQuery(FreshQuery, frozen=True, forbid_unknown_fields=True):
    """With which package to compare."""

    other: Annotated[str, Meta(description="What names the other package; empty for a form.")] = field(
        default="", name="with"
    )


class _Comparison(Struct, frozen=True):
    """How two packages differ: the first changes, and the totals of all."""

    changes: list[EntryChange]
    totals: DiffTotals


async def compare_packages(call: Call, query: CompareQuery) -> Answer:
    """Answer with the differences that lead from a package to another, or with a form that asks for the other."""
    package = call.package
    if not query.other:
        return await page("compare.html", package=package, other=None, found=None)
    other = await event_store(call.registry).find_package(query.other, within=call.within)
    if not call.grant.allows("read", other.name):
        raise PackageNotFound(query.other)
    package.check_not_gone()
    other.check_not_gone()
    found = await _compared(call, package, other) if _size(package) + _size(other) <= COMPARED_MAX else None
    return await page("compare.html", package=package, other=other, found=found, most=COMPARED_MAX)


async def _compared(call: Call, package: PackageRecord, other: PackageRecord) -> _Comparison:
    async with _comparisons.taken(call.principal):
        pairs = await event_store(call.registry).differences(package.package_id, other.package_id)

        def compare() -> _Comparison:
            changes = changes_between(pairs)
            return _Comparison(changes[:CHANGES_MAX], diff_totals(changes))

        return await in_thread(compare)


def _size(package: PackageRecord) -> int:
    return package.files + package.links + package.directories
