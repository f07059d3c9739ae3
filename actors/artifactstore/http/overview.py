"""What the page and the metrics show of the contents of a store: totals, latest packages, and what takes most space.

The first two are a few rows, however large the store is. The space by name reads a row for each package, so it is kept
for five minutes. A database that does not answer in time leaves the rest of the page as
it is: the page then says that the contents cannot be read.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

import trio
from msgspec import Struct

from artifactstore.probes import PROBE_TIMEOUT_S
from artifactstore.registry import Registry
from artifactstore_protocols.disk_usage import NameUsage
from artifactstore_protocols.records import PackageRecord
from artifactstore_protocols.store_stats import StoreStats
from artifactstore_protocols.supervision import Refusal

__all__ = ["NAMES_MAX", "PACKAGES_SHOWN", "Look", "Overview", "nothing_yet", "overview_of"]

PACKAGES_SHOWN = 8

NAMES_MAX: Final = 20
"""The number of package names that metrics have as a label: a monitoring system keeps each value for long."""

_NAMES_AGE_MAX_S: Final = 300.0


class Overview(Struct, frozen=True):
    """The totals of a store, its latest packages, the newest first, and the names that take most space, largest first.

    The names are at most five minutes old.
    """

    stats: StoreStats
    packages: tuple[PackageRecord, ...]
    names: tuple[NameUsage, ...] = ()


type Look = Callable[[], Awaitable[Overview | str | None]]
"""A function that returns the contents, the reason why they cannot be read, or None while the store is starting."""


async def nothing_yet() -> None:
    """Return None, as for a store that is starting."""


def overview_of(registry: Callable[[], Registry | None]) -> Look:
    """Return a function that reads the contents of a store.

    Args:
        registry: returns the open store; None while it is starting.
    """
    names: tuple[NameUsage, ...] = ()
    read_at = -math.inf

    async def largest(store: Registry) -> tuple[NameUsage, ...]:
        nonlocal names, read_at
        if trio.current_time() - read_at > _NAMES_AGE_MAX_S:
            read_at = trio.current_time()  # first: others take the names as they are, and a slow database has its rest
            with trio.move_on_after(PROBE_TIMEOUT_S):
                names = tuple((await store.disk_usage())[:NAMES_MAX])
        return names

    async def look() -> Overview | str | None:
        store = registry()
        if store is None:
            return None
        read: tuple[StoreStats, tuple[PackageRecord, ...]] | None = None
        try:
            with trio.move_on_after(PROBE_TIMEOUT_S):
                stats = await store.stats()
                async with aclosing(store.list_packages(limit=PACKAGES_SHOWN)) as latest:
                    read = stats, tuple([package async for package in latest])
            if read is not None:
                return Overview(*read, await largest(store))
        except Refusal as error:
            return str(error)
        return f"the database did not answer within {PROBE_TIMEOUT_S:g} s"

    return look
