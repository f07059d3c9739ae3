"""The rules of tags: they name finalized packages, and a protected one stays where it is."""

import pytest

from artifactstore_protocols.commands import Command, DeleteTag, SetTag
from artifactstore_protocols.event_types import Payload, TagDeleted, TagSet
from artifactstore_protocols.judging import command_needs, decide
from artifactstore_protocols.packages import NotFinalized, PackageNotFound, TagNotFound, TagProtected
from artifactstore_protocols.state import LogState, Needs, TagState
from command_strategies import created, evolved, finalized, opened, package_id_of

FIRST, SECOND = package_id_of(1), package_id_of(2)


def tagged(*, protected: bool) -> LogState:
    """Two finalized packages; the tag names the first."""
    state = evolved(finalized(), created(2), after=5)
    state.packages[SECOND].finalized = True
    return evolved(state, SetTag("release", FIRST, protected), after=6)


def decided(command: Command, state: LogState) -> tuple[Payload, ...]:
    return decide(command, state, entries_max=1)


def test_a_tag_is_set_moved_and_deleted() -> None:
    state = tagged(protected=False)
    assert state.tags == {"release": TagState(FIRST, protected=False)}
    assert decided(SetTag("release", SECOND), state) == (TagSet("release", SECOND, False),)
    assert evolved(state, SetTag("release", SECOND), after=7).tags == {"release": TagState(SECOND, protected=False)}
    assert decided(DeleteTag("release"), state) == (TagDeleted("release"),)
    assert evolved(state, DeleteTag("release"), after=8).tags == {}


def test_a_tag_that_is_set_like_this_already_does_not_change() -> None:
    assert decided(SetTag("release", FIRST), tagged(protected=False)) == ()
    assert decided(SetTag("release", FIRST), tagged(protected=True)) == ()
    assert decided(SetTag("release", FIRST, True), tagged(protected=True)) == ()


def test_a_protected_tag_stays_until_it_is_unprotected() -> None:
    state = tagged(protected=True)
    for command in (SetTag("release", SECOND), SetTag("release", SECOND, False), DeleteTag("release")):
        with pytest.raises(TagProtected, match="unprotect it first") as refused:
            decided(command, state)
        assert (refused.value.tag, refused.value.package_id) == ("release", FIRST)
    state = evolved(state, SetTag("release", FIRST, False), after=7)
    assert decided(SetTag("release", SECOND), state) == (TagSet("release", SECOND, False),)


def test_a_tag_keeps_its_protection_when_nothing_is_said_about_it() -> None:
    assert decided(SetTag("release", FIRST, True), tagged(protected=False)) == (TagSet("release", FIRST, True),)
    assert decided(SetTag("other", FIRST), tagged(protected=True)) == (TagSet("other", FIRST, False),)


def test_only_a_finalized_package_gets_a_tag() -> None:
    with pytest.raises(NotFinalized):
        decided(SetTag("release", FIRST), opened())
    with pytest.raises(PackageNotFound):
        decided(SetTag("release", SECOND), opened())
    with pytest.raises(TagNotFound, match="there is no tag 'release'"):
        decided(DeleteTag("release"), opened())


def test_deciding_needs_the_package_and_the_tag() -> None:
    assert command_needs([SetTag("a", FIRST), DeleteTag("b")]) == Needs(
        packages=frozenset({FIRST}), tags=frozenset({"a", "b"})
    )
