"""Stores for libraries that read packages from any thread: each is open once in a process, with the packages in use.

A store is opened at its first use, and only for reading: a missing store is not created. It stays open until it is
closed, or the process ends. A forked process opens its own. In a thread that runs an event loop, such as a notebook's,
the work runs in another thread while the caller waits: the callers here have no way to await.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from msgspec import structs

from artifactstore.blocking import BlockingPackage, BlockingRegistry, open_registry
from artifactstore.config import Settings
from artifactstore.database.location import DatabaseLocation
from artifactstore.host_loop import loop_here
from artifactstore.places import absolute, sqlite_url

__all__ = ["SharedStore", "close_shared_stores", "shared_store", "whole_places"]

_PACKAGES_MAX: Final = 8
"""The number of packages whose entries a store keeps in memory: those that were used last."""


def whole_places(settings: Settings) -> Settings:
    """Return settings that mean the same in any current directory."""
    path = DatabaseLocation.parse(settings.database_url).path
    return structs.replace(
        settings,
        database_url=settings.database_url if path is None else sqlite_url(path),
        storage_local_root=absolute("storage_local_root", settings.storage_local_root),
    )


def shared_store(settings: Settings) -> "SharedStore":
    """Return this process's store of settings that `whole_places` returned."""
    place = settings.database_url, settings.storage_local_root
    with _stores.lock:
        found = _stores.by_place.get(place)
        if found is None:
            found = _stores.by_place[place] = SharedStore(settings)
        return found


def close_shared_stores() -> None:
    """Close all stores of this process. A store that is used again opens again."""
    with _stores.lock:
        stores = list(_stores.by_place.values())
    for store in stores:
        store.close()


class SharedStore:
    """One store, for all threads of a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._packages: OrderedDict[str, BlockingPackage] = OrderedDict()
        self._registry: BlockingRegistry | None = None
        self._closing = ExitStack()

    def package(self, text: str) -> BlockingPackage:
        """Return a package by any of the texts that name one.

        A text keeps its package, until `forget` or until `_PACKAGES_MAX` other packages were used: a name does not
        move to a newer package while its files are read one by one.
        """
        return self.run(lambda: self._package(text))

    def _package(self, text: str) -> BlockingPackage:
        with self._lock:
            found = self._packages.get(text)
            if found is None:
                found = self._packages[text] = self._opened().open_package(text)
                while len(self._packages) > _PACKAGES_MAX:
                    self._packages.popitem(last=False)
            self._packages.move_to_end(text)
            return found

    def _opened(self) -> BlockingRegistry:
        if self._registry is None:
            self._registry = self._closing.enter_context(open_registry(self._settings, create=False))
        return self._registry

    def forget(self) -> None:
        """Forget the packages, so that each text is looked up again."""
        with self._lock:
            self._packages.clear()

    def close(self) -> None:
        """Close the store. Files that are open raise `StoreClosed`; the next use opens the store again."""
        self.run(self._close)

    def _close(self) -> None:
        with self._lock:
            self._packages.clear()
            self._registry = None
            self._closing.close()

    def run[T](self, work: Callable[[], T]) -> T:
        """Run work that blocks: here, or in another thread if an event loop runs here."""
        if loop_here() == "no event loop":
            return work()
        with ThreadPoolExecutor(1, "artifactstore-shared") as other:
            return other.submit(work).result()


class _Stores:
    """The stores of one process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.lock = threading.Lock()
        self.by_place: dict[tuple[str, Path], SharedStore] = {}


_stores = _Stores()
os.register_at_fork(after_in_child=_stores.reset)
