"""What flawed objects mean: the packages and the paths that have their contents."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from artifactstore_protocols.event_store import EventStore, Location
from artifactstore_protocols.records import AffectedPackage, FlawedObject

__all__ = ["Affected"]

_FILES_OF_AN_OBJECT_MAX: Final = 10_000
_FILES_MAX: Final = 100_000
"""The number of paths that one report names. Beyond it, a report only counts them."""

_PACKAGES_MAX: Final = 100


class Affected:
    """The flawed objects by problem, with the files that have their contents."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._found: dict[str, list[FlawedObject]] = {}
        self._named = 0
        self._by_package = Counter[str]()

    async def add(self, problem: str, location: Location) -> None:
        """Note a flawed object, and look up the files that have its content."""
        address = location.content_address
        limit = min(_FILES_OF_AN_OBJECT_MAX, _FILES_MAX - self._named)
        files = tuple(await self._store.files_with_content(address, limit=limit)) if limit > 0 else ()
        count = len(files) if len(files) < limit else await self._store.count_files_with_content(address)
        self._named += len(files)
        self._by_package.update(file.partition("/")[0] for file in files)
        self._found.setdefault(problem, []).append(FlawedObject(address, location.size_bytes, files, count))

    def count(self, problem: str) -> int:
        """Return the number of objects that have a problem."""
        return len(self._found.get(problem, ()))

    def of(self, problem: str) -> tuple[FlawedObject, ...]:
        """Return the objects that have a problem, in the order of their addresses."""
        return tuple(sorted(self._found.get(problem, ()), key=lambda flaw: flaw.content_address))

    @property
    def package_count(self) -> int:
        """The number of packages that the named files are in."""
        return len(self._by_package)

    async def packages(self) -> Sequence[AffectedPackage]:
        """Return the first packages, those with the most affected files first."""
        return tuple(
            [
                AffectedPackage(package_id, (await self._store.package(package_id)).name, files)
                for package_id, files in sorted(self._by_package.items(), key=lambda each: (-each[1], each[0]))[
                    :_PACKAGES_MAX
                ]
            ]
        )
