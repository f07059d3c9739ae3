"""Functions for the events that end a package: what keeps one, the type of such an event, and the error of a gone one.

A hold, and a protected tag that names a package, keep it from deletion and from every rule.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types.base import EventType, record_codec
from artifactstore_protocols.packages import PackageGone, PackageKept, PackageNotFound
from artifactstore_protocols.state import Gone, LogState, Needs, PackageState
from artifactstore_protocols.views import PACKAGES, RETENTION, RowOperation, Update

if TYPE_CHECKING:
    from artifactstore_protocols.events import Event, StoredEvent

__all__ = ["check_not_gone", "ending_needs", "ending_type", "package_to_end"]


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
        PackageKept: a hold or a protected tag keeps it.
    """
    package = state.packages.get(package_id)
    if package is None:
        raise PackageNotFound(package_id)
    if package.gone is not None:
        return None
    if package.holds:
        hold_id = min(package.holds)
        raise PackageKept(package_id, f"a hold is on it; release it first: `artifactstore hold release {hold_id}`")
    if package.protected_tags:
        tag = min(package.protected_tags)
        advice = f"unprotect it first: `artifactstore tag set {tag} {package_id} --unprotect`"
        raise PackageKept(package_id, f"the protected tag {tag!r} names it; {advice}")
    return package


def ending_type[P: Struct](
    name: str,
    payload: type[P],
    *,
    package_id: Callable[[P], str],
    status: Literal["deleted", "expired"],
    reason: Callable[[P], str],
    check: Callable[[P], object],
    decide: Callable[[P, LogState], object | None],
    describe: Callable[[P], str],
) -> EventType[P]:
    """Return the type of an event that ends a package. Its entries stay until a collector releases them.

    Args:
        name: the name of the type.
        payload: the payload.
        package_id: returns the id of the package.
        status: the status of the package afterwards.
        reason: returns the reason that the package's record gives.
        check: checks the rules that need no state.
        decide: makes the same decision as the command; returns None if the package is gone already.
        describe: returns one line for people.
    """

    def check_alone(value: P, _event: "Event") -> None:
        check(value)

    def judge(value: P, _stored: "StoredEvent", state: LogState) -> None:
        if decide(value, state) is None:
            raise InvalidValue("event", package_id(value), "the package is gone already")

    def gone(value: P, stored: "StoredEvent") -> Gone:
        return Gone(status, stored.event.recorded_at_us, stored.event.principal, reason(value))

    def evolve(value: P, stored: "StoredEvent", state: LogState) -> None:
        state.end_package(state.packages[package_id(value)], gone(value, stored))

    return EventType(
        name=name,
        codec=record_codec(name, payload),
        subject=package_id,
        needs=lambda value: ending_needs(package_id(value)),
        check=check_alone,
        judge=judge,
        evolve=evolve,
        rows=lambda value, stored: _rows_of_gone(package_id(value), gone(value, stored), stored),
        describe=describe,
    )


def _rows_of_gone(package_id: str, gone: Gone, stored: "StoredEvent") -> Iterable[RowOperation]:
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
