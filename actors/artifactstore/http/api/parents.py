"""Which parents of a package a token sees: those that it may read. The others would tell of packages out of its sight.

The manifest has them all, since its digest covers them.
"""

from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from artifactstore.http.api.model import Call
from artifactstore.registry import event_store
from artifactstore_protocols.packages import PackageNotFound
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.tokens import ALL_PACKAGES

__all__ = ["with_parents_seen"]


async def with_parents_seen(call: Call, packages: Sequence[PackageRecord]) -> Sequence[PackageRecord]:
    """Return packages without the parents that the token of a request may not read. Each parent costs a query."""
    if ALL_PACKAGES in call.grant.packages:
        return packages
    seen = set[str]()
    for parent in {parent for each in packages for parent in each.parents}:
        with suppress(PackageNotFound):
            if call.grant.allows("read", (await event_store(call.registry).package(parent)).name):
                seen.add(parent)
    return [
        replace(each, parents={parent: digest for parent, digest in each.parents.items() if parent in seen})
        if each.parents
        else each
        for each in packages
    ]
