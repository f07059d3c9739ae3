"""The rules of keep policies: to set and delete them, and to judge packages again inside the commit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.commands import Command, DeleteKeepPolicy, SetKeepPolicy, SetTag
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.event_types import KeepPolicyDeleted, KeepPolicySet, PackageExpired, Payload
from artifactstore_protocols.event_types.keep_policies_applied import obstacles
from artifactstore_protocols.judging import command_needs, decide
from artifactstore_protocols.keep_policies import (
    IN_THE_FUTURE,
    KEEP_POLICIES_MAX,
    ApplyKeepPolicies,
    KeepPolicy,
    KeepPolicyNotFound,
    judge_group,
    judge_package,
    policies_for,
)
from artifactstore_protocols.keep_rules import Candidate, KeepRules
from artifactstore_protocols.life_cycle import DeletePackage
from artifactstore_protocols.records import PolicyVerdict
from artifactstore_protocols.state import LogState, Needs, PackageState
from command_strategies import evolved, package_id_of

FIRST, SECOND, THIRD = map(package_id_of, (1, 2, 3))
LAST = KeepRules(last=1)


def nightlies() -> LogState:
    """Three finalized packages of one name, the third one the newest, and a policy that keeps the newest."""
    state = LogState(keep_policies={"nightly": LAST}, groups={"nightly": {}})
    for number, package_id in enumerate((FIRST, SECOND, THIRD), 1):
        package = PackageState(package_id, number, "nightly", "standard", b"\xa0", 0, finalized=True)
        package.expires_at_us = 1 << 50
        state.packages[package_id] = package
        state.groups["nightly"][package_id] = Candidate(package_id, 100 + number, 10 + number)
    return state


def decided(command: Command, state: LogState) -> tuple[Payload, ...]:
    return decide(command, state, entries_max=1)


def apply(*package_ids: str, group: str = "nightly") -> ApplyKeepPolicies:
    return ApplyKeepPolicies(group, "nightly", package_ids or (FIRST, SECOND, THIRD), as_of_us=1000)


def expired(command: ApplyKeepPolicies, state: LogState) -> list[str]:
    payloads = decided(command, state)
    found = [each.package_id for each in payloads if isinstance(each, PackageExpired)]
    assert len(found) == len(payloads)
    return found


def test_a_policy_is_set_changed_and_deleted() -> None:
    state = evolved(LogState(), SetKeepPolicy("nightly", LAST))
    assert state.keep_policies == {"nightly": LAST}
    assert decided(SetKeepPolicy("nightly", LAST), state) == ()
    assert decided(SetKeepPolicy("nightly", KeepRules(daily=2)), state) == (KeepPolicySet("nightly", {"daily": 2}),)
    assert decided(DeleteKeepPolicy("nightly"), state) == (KeepPolicyDeleted("nightly"),)
    assert evolved(state, DeleteKeepPolicy("nightly"), after=1).keep_policies == {}
    with pytest.raises(KeepPolicyNotFound, match="there is no keep policy for 'other'"):
        decided(DeleteKeepPolicy("other"), state)


def test_a_store_has_a_limited_number_of_policies() -> None:
    state = LogState(keep_policies={f"name {number}": LAST for number in range(KEEP_POLICIES_MAX)})
    with pytest.raises(InvalidValue, match="the most that are possible"):
        decided(SetKeepPolicy("one more", LAST), state)
    assert len(decided(SetKeepPolicy("name 1", KeepRules(daily=1)), state)) == 1


def test_a_package_goes_if_no_policy_that_matches_keeps_it() -> None:
    assert decided(apply(), nightlies()) == (
        PackageExpired(FIRST, "policy:nightly", 1000, 1),
        PackageExpired(SECOND, "policy:nightly", 1000, 1),
    )
    assert expired(apply(SECOND), nightlies()) == [SECOND]


def test_any_other_policy_that_matches_keeps_a_package() -> None:
    state = nightlies()
    state.keep_policies["night*"] = KeepRules(last=2)
    state.keep_policies["other*"] = KeepRules(last=3)
    assert expired(apply(), state) == [FIRST]
    assert expired(apply(group="night*"), state) == [FIRST]
    assert expired(apply(group="other*"), state) == []
    assert expired(apply(group="was deleted"), state) == []
    assert list(policies_for("nightly", state.keep_policies)) == ["night*", "nightly"]


def test_what_says_what_keeps_a_package_names_policy_and_rule() -> None:
    policies = {"night*": KeepRules(last=2), "nightly": LAST}
    candidates = nightlies().groups["nightly"].values()
    assert judge_group(policies, candidates, 1000) == {
        THIRD: ("night*: last 2", "nightly: last 1"),
        SECOND: ("night*: last 2",),
        FIRST: (),
    }


@given(st.sets(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 9), st.integers(1, 3), st.integers(1, 3))
def test_what_policies_say_about_one_package_is_what_they_do(
    times: set[int], as_of_us: int, last: int, within_us: int
) -> None:
    group = [Candidate(str(at_us), at_us, at_us) for at_us in times]
    rules = {"n*": KeepRules(within_us=within_us, last=1), "nightly": KeepRules(last=last), "other": KeepRules(last=99)}
    policies = [KeepPolicy(name, each, "ann", 0, number) for number, (name, each) in enumerate(rules.items())]
    kept = judge_group(policies_for("nightly", rules), group, as_of_us)
    for each in group:
        said = judge_package(policies, "nightly", group, each.package_id, as_of_us)
        assert [(verdict.group, verdict.sequence) for verdict in said] == [("n*", 0), ("nightly", 1)]
        texts = [f"{verdict.group}: {text}" for verdict in said for text in verdict.kept_by]
        if kept[each.package_id][:1] == (IN_THE_FUTURE,):
            assert said == (PolicyVerdict("n*", (IN_THE_FUTURE,), 0), PolicyVerdict("nightly", (IN_THE_FUTURE,), 1))
        else:
            assert texts == [*kept[each.package_id]]


def test_a_tag_that_was_set_meanwhile_keeps_a_package() -> None:
    state = nightlies()
    state.keep_policies["nightly"] = KeepRules(last=1, tagged=("release-*",))
    assert expired(apply(), evolved(state, SetTag("release-1", FIRST))) == [SECOND]


def test_a_package_that_was_deleted_meanwhile_leaves_its_place_to_an_older_one() -> None:
    assert expired(apply(), evolved(nightlies(), DeletePackage(THIRD, "broken", before_expiry=True))) == [FIRST]


def test_protected_tags_and_permanent_retention_keep_a_package_from_every_policy() -> None:
    state = evolved(nightlies(), SetTag("best", FIRST, protected=True))
    state.packages[SECOND].expires_at_us = None
    assert expired(apply(), state) == []
    reasons = obstacles((FIRST, SECOND, THIRD), state)
    assert "the protected tag 'best'" in reasons[FIRST]
    assert reasons[SECOND] == "its retention is permanent"
    assert THIRD not in reasons


def test_a_package_from_the_future_stays_and_makes_no_other_one_old() -> None:
    state = nightlies()
    state.keep_policies["nightly"] = KeepRules(within_us=1)
    assert expired(apply(), state) == [FIRST]
    state.groups["nightly"][THIRD] = Candidate(THIRD, 1 << 50, 13)
    assert expired(apply(), state) == []
    kept = judge_group({"nightly": LAST}, state.groups["nightly"].values(), 1000)
    assert kept == {THIRD: (IN_THE_FUTURE,), SECOND: ("nightly: last 1",), FIRST: ()}


@given(st.sets(st.integers(0, 9), max_size=6), st.integers(0, 9), st.integers(1, 3), st.integers(1, 3))
def test_the_time_of_judging_can_only_keep_more(times: set[int], as_of_us: int, last: int, within_us: int) -> None:
    group = [Candidate(str(at_us), at_us, at_us) for at_us in times]
    policies = {"a": KeepRules(last=last), "b": KeepRules(within_us=within_us)}
    late, early = (judge_group(policies, group, time_us) for time_us in (9, as_of_us))
    assert {each for each, texts in late.items() if texts} <= {each for each, texts in early.items() if texts}


def test_applying_twice_lets_nothing_more_go() -> None:
    state = evolved(nightlies(), apply())
    assert [state.packages[each].gone is not None for each in (FIRST, SECOND, THIRD)] == [True, True, False]
    assert decided(apply(), state) == ()


def test_applying_needs_all_policies_and_all_packages_of_the_name() -> None:
    ids = frozenset({FIRST, SECOND, THIRD})
    needs = Needs(packages=ids, kept=ids, keep_policies=True, groups=frozenset({"nightly"}))
    assert command_needs([apply()]) == needs


@pytest.mark.parametrize("package_ids", [(), (FIRST, FIRST), ("nightly",)])
def test_a_command_names_each_package_once_by_its_id(package_ids: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue):
        ApplyKeepPolicies("nightly", "nightly", package_ids, 0)
