"""artifactstore is a content-addressed artifact store, built from supervised actors on trio.

`open_registry` opens a store in a trio program. `artifactstore.aio` and `artifactstore.blocking` offer the same methods
to asyncio programs and to programs without an event loop. Importing this package starts no threads or tasks. A public
name is loaded when it is first used.
"""

TYPE_CHECKING = False  # type checkers take it as true; importing `typing` would be a large part of the start-up time
if TYPE_CHECKING:
    from artifactstore.config import Settings
    from artifactstore.open import open_registry, run_registry
    from artifactstore.package_paths import Package, PackageFile, PackagePath, PathStat
    from artifactstore.registry import Registry
    from artifactstore_protocols.package_listing import EntryFilter, PackageFilter
    from artifactstore_protocols.selection import Selection
    from artifactstore_protocols.sources import Source

__all__ = [
    "EntryFilter",
    "Package",
    "PackageFile",
    "PackageFilter",
    "PackagePath",
    "PathStat",
    "Registry",
    "Selection",
    "Settings",
    "Source",
    "open_registry",
    "run_registry",
]

_HOMES = {
    "EntryFilter": "artifactstore_protocols.package_listing",
    "Package": "artifactstore.package_paths",
    "PackageFile": "artifactstore.package_paths",
    "PackageFilter": "artifactstore_protocols.package_listing",
    "PackagePath": "artifactstore.package_paths",
    "PathStat": "artifactstore.package_paths",
    "Registry": "artifactstore.registry",
    "Selection": "artifactstore_protocols.selection",
    "Settings": "artifactstore.config",
    "Source": "artifactstore_protocols.sources",
    "open_registry": "artifactstore.open",
    "run_registry": "artifactstore.open",
}


if not TYPE_CHECKING:  # with this function, a type checker would accept any name

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - loaded only for the first use of a name

        return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
