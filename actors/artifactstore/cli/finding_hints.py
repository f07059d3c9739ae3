"""Hints for searches that found nothing: most often a condition is not what its author meant."""

import shlex
from contextlib import aclosing
from typing import Final

from msgspec.structs import replace

from artifactstore.cli.remote import AnyRegistry
from artifactstore_protocols.metadata import pair_text
from artifactstore_protocols.package_listing import ALL, EntryFilter, PackageFilter

__all__ = ["no_entry_hint", "no_package_hint"]

_CI: Final = "ci."
_SPECIAL: Final = frozenset("*?[\\")


async def no_package_hint(registry: AnyRegistry, where: PackageFilter) -> str:
    """Return what to tell about a list of packages that is empty."""
    if (hint := _backwards(where)) is not None:
        return hint
    renamed = {key if key.startswith(_CI) else f"{_CI}{key}": value for key, value in where.metadata.items()}
    if renamed != where.metadata and await _has_package(registry, replace(where, metadata=renamed)):
        options = (f"--meta {shlex.quote(pair_text(key, value))}" for key, value in renamed.items())
        return f"no package matches; --ci writes other keys: {' '.join(options)}"
    named = tuple(key if key.startswith(_CI) else f"{_CI}{key}" for key in where.has)
    if named != tuple(where.has) and await _has_package(registry, replace(where, has=named)):
        return f"no package matches; --ci writes other keys: {' '.join(f'--has {shlex.quote(key)}' for key in named)}"
    return "no package matches all conditions"


async def no_entry_hint(registry: AnyRegistry, wanted: EntryFilter, packages: PackageFilter) -> str:
    """Return what to tell about a search for entries that found nothing."""
    if (hint := _backwards(packages)) is not None:
        return hint
    path = wanted.path
    if path is not None and not _SPECIAL & set(path):
        below = replace(wanted, path=f"{path}/**")
        async with aclosing(registry.find(below, packages=packages, limit=1)) as found:
            if [each async for each in found]:
                return f"{path} is a directory; write --path {shlex.quote(f'{path}/**')}"
    if not await _has_package(registry, packages):
        return "the store has no packages" if packages == ALL else "no package matches the conditions for packages"
    return "no entry matches all conditions"


def _backwards(where: PackageFilter) -> str | None:
    if where.since_us is not None and where.until_us is not None and where.since_us >= where.until_us:
        return "nothing can match: --since is later than --until"
    return None


async def _has_package(registry: AnyRegistry, where: PackageFilter) -> bool:
    async with aclosing(registry.list_packages(where, limit=1)) as found:
        return bool([each async for each in found])
