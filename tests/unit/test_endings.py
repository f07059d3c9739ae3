"""The rules of deletion and expiry: what ends a package, what keeps it, and what a gone one refuses."""

import pytest

from artifactstore_protocols.commands import FinalizePackage, SetTag
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import PackageDeleted, PackageExpired
from artifactstore_protocols.judging import command_needs, decide
from artifactstore_protocols.life_cycle import DeletePackage, ExpirePackage
from artifactstore_protocols.packages import (
    NotFinalized,
    PackageChanged,
    PackageFinalizedAlready,
    PackageGone,
    PackageKept,
    PackageNotFound,
)
from artifactstore_protocols.state import LogState, Needs
from command_strategies import created, evolved, finalized, ingest, ingested, opened, package_id_of

FIRST = package_id_of(1)
EXPIRES_AT_US = 5_000


def expiring(expires_at_us: int | None = EXPIRES_AT_US) -> LogState:
    """A finalized package whose retention ends then."""
    state = finalized()
    state.packages[FIRST].expires_at_us = expires_at_us
    return state


def expire(state: LogState, *, rule: str = "retention", as_of_us: int = EXPIRES_AT_US, version: int = 2) -> object:
    (payload,) = decide(ExpirePackage(FIRST, rule, as_of_us, version), state, entries_max=1)
    return payload


def delete(state: LogState, *, before_expiry: bool = False, as_of_us: int = EXPIRES_AT_US) -> object:
    (payload,) = decide(DeletePackage(FIRST, "no need", before_expiry, as_of_us), state, entries_max=1)
    return payload


def test_an_open_package_is_deleted_at_any_time() -> None:
    assert delete(opened(("a", b"x")), as_of_us=0) == PackageDeleted(FIRST, "no need")


def test_a_finalized_package_is_deleted_after_its_retention_or_when_asked_twice() -> None:
    assert delete(expiring()) == PackageDeleted(FIRST, "no need")
    with pytest.raises(PackageKept, match=r"until 1970-01-01T00:00:00Z; delete it with --before-expiry"):
        delete(expiring(), as_of_us=EXPIRES_AT_US - 1)
    with pytest.raises(PackageKept, match="for ever"):
        delete(expiring(None))
    assert delete(expiring(None), before_expiry=True) == PackageDeleted(FIRST, "no need")


def test_a_finalized_package_expires_when_its_time_is_over() -> None:
    assert expire(expiring()) == PackageExpired(FIRST, "retention", EXPIRES_AT_US, 2)
    with pytest.raises(PackageKept, match="until 1970"):
        expire(expiring(), as_of_us=EXPIRES_AT_US - 1)
    with pytest.raises(NotFinalized):
        expire(opened(("a", b"x")))


def test_a_policy_lets_a_package_go_earlier_and_never_a_permanent_one() -> None:
    assert expire(expiring(), rule="policy:nightly", as_of_us=0) == PackageExpired(FIRST, "policy:nightly", 0, 2)
    for rule in ("retention", "policy:nightly"):
        with pytest.raises(PackageKept, match="permanent"):
            expire(expiring(None), rule=rule)


def test_an_open_package_that_nobody_touches_is_abandoned() -> None:
    assert expire(opened(("a", b"x")), rule="abandoned", as_of_us=7) == PackageExpired(FIRST, "abandoned", 7, 2)
    with pytest.raises(PackageChanged):
        expire(opened(("a", b"x")), rule="abandoned", version=1)
    with pytest.raises(PackageFinalizedAlready):
        expire(expiring(), rule="abandoned")


def test_a_protected_tag_keeps_a_package_until_it_is_unprotected_or_moved() -> None:
    state = evolved(expiring(), SetTag("release", FIRST, True), after=5)
    with pytest.raises(PackageKept, match="the protected tag 'release'"):
        delete(state, before_expiry=True)
    with pytest.raises(PackageKept, match="the protected tag 'release'"):
        expire(state)
    evolved(state, SetTag("release", FIRST, False), after=6)
    assert delete(state) == PackageDeleted(FIRST, "no need")


@pytest.mark.parametrize("command", [DeletePackage(FIRST, "no need"), ExpirePackage(FIRST, "abandoned", 0, 2)])
def test_a_gone_package_takes_no_changes_and_counts_no_more(command: DeletePackage | ExpirePackage) -> None:
    state = evolved(opened(("a", b"x")), created(2), after=5)
    evolved(state, command, after=6)
    verb = "was deleted" if isinstance(command, DeletePackage) else "expired"
    for other in (
        ingest(ingested("b", b"x")),
        FinalizePackage(FIRST, 2, b""),
        SetTag("release", FIRST),
    ):
        with pytest.raises(PackageGone, match=f"{verb} on 1970-01-01T00:00:01Z by ci") as refused:
            decide(other, state, entries_max=9)
        assert refused.value.package_id == FIRST
    assert decide(DeletePackage(FIRST, "again"), state, entries_max=1) == ()
    assert decide(ExpirePackage(FIRST, "abandoned", 0, 2), state, entries_max=1) == ()
    totals = state.totals
    assert (totals.packages, totals.files, totals.total_bytes, totals.objects) == (1, 0, 0, 1)


def test_what_is_no_rule_and_no_package() -> None:
    for rule in ("", "because", "policy", "policy:\n", "policy:" + "x" * 300):
        with pytest.raises(InvalidValue, match="invalid rule"):
            ExpirePackage(FIRST, rule, 0, 1)
    with pytest.raises(InvalidValue, match="invalid reason"):
        DeletePackage(FIRST, "")
    with pytest.raises(PackageNotFound):
        delete(LogState())


def test_deciding_needs_what_keeps_the_package() -> None:
    packages = frozenset({FIRST})
    assert command_needs([DeletePackage(FIRST, "no")]) == Needs(packages=packages, kept=packages, clock=True)
