"""Functions for the events that end a package: what keeps one, the rows of a gone one, and its error.

A protected tag that names a package keeps it from deletion and from every rule.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from artifactstore_protocols.packages import PackageGone, PackageKept, PackageNotFound
from artifactstore_protocols.state import Gone, LogState, Needs, PackageState
from artifactstore_protocols.views import PACKAGES, RETENTION, RowOperation, Update

if TYPE_CHECKING:
    from artifactstore_protocols.events import StoredEvent

__all__ = ["check_not_gone", "ending_needs", "evolve_to", "package_to_end", "rows_of_gone"]


def ending_needs(package_id: str) -> Needs:
    """Return the state that the end of a package needs."""
    return Needs(packages=frozenset({package_id}), kept=frozenset({package_id}))


def check_not_gone(package: PackageState) -> None:
    """Check that a package was neither deleted nor has expired.

    Raises:
        PackageGone: it was or has.
    """
    if package.gone is not None:
        raise PackageGone(package.package_id, *package.gone)


def package_to_end(package_id: str, state: LogState) -> PackageState | None:
    """Return a package that nothing keeps but its retention; None if it is gone already.

    Raises:
        PackageNotFound: no package has this id.
        PackageKept: a protected tag keeps it.
    """
    package = state.packages.get(package_id)
    if package is None:
        raise PackageNotFound(package_id)
    if package.gone is not None:
        return None
    if package.protected_tags:
        tag = min(package.protected_tags)
        advice = f"unprotect it first: `artifactstore tag set {tag} {package_id} --unprotect`"
        raise PackageKept(package_id, f"the protected tag {tag!r} names it; {advice}")
    return package


def evolve_to(package_id: str, gone: Gone, state: LogState) -> None:
    """Apply the end of a package to the state."""
    state.end_package(state.packages[package_id], gone)


def rows_of_gone(package_id: str, gone: Gone, stored: "StoredEvent") -> Iterable[RowOperation]:
    """Return the operations that record the end of a package. Its entries stay until a collector releases them."""
    ended = {
        "status": gone.status,
        "gone_at": gone.at_us,
        "gone_by": gone.by,
        "gone_reason": gone.reason,
        "gone_sequence": stored.sequence,
    }
    return (
        Update(PACKAGES, (package_id,), ended),
        Update(RETENTION, (package_id,), {"status": gone.status}),
    )
