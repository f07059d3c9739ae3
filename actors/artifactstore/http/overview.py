"""What the page shows of the contents of a store: its totals and its latest packages.

Both are a few rows, however large the store is. A database that does not answer in time leaves the rest of the page as
it is: the page then says that the contents cannot be read.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import trio
from msgspec import Struct

from artifactstore.probes import PROBE_TIMEOUT_S
from artifactstore.registry import Registry
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.store_stats import StoreStats
from artifactstore_protocols.supervision import Refusal

__all__ = ["PACKAGES_SHOWN", "Look", "Overview", "nothing_yet", "overview_of"]

PACKAGES_SHOWN = 8


class Overview(Struct, frozen=True):
    """The totals of a store, and its latest packages, the newest first."""

    stats: StoreStats
    packages: tuple[PackageRecord, ...]


type Look = Callable[[], Awaitable[Overview | str | None]]
"""A function that returns the contents, the reason why they cannot be read, or None while the store is starting."""


async def nothing_yet() -> None:
    """Return None, as for a store that is starting."""


def overview_of(registry: Callable[[], Registry | None]) -> Look:
    """Return a function that reads the contents of a store.

    Args:
        registry: returns the open store; None while it is starting.
    """

    async def look() -> Overview | str | None:
        store = registry()
        if store is None:
            return None
        with trio.move_on_after(PROBE_TIMEOUT_S):
            try:
                stats = await store.stats()
                async with aclosing(store.list_packages(limit=PACKAGES_SHOWN)) as latest:
                    return Overview(stats, tuple([package async for package in latest]))
            except Refusal as error:
                return str(error)
        return f"the database did not answer within {PROBE_TIMEOUT_S:g} s"

    return look
