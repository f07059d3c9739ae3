"""Keep rules against their definition: each rule alone, all together, with one more, and twice."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import starmap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from artifactstore_protocols.canonical import INTEGER_MAX
from artifactstore_protocols.errors import InvalidValue
from artifactstore_protocols.keep_rules import (
    Candidate,
    KeepRules,
    duration_text,
    judge_candidates,
)
from artifactstore_protocols.moments import duration_us

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NEW_YEAR_US = 1_767_225_600_000_000  # 2026-01-01, a Thursday in the week that began on 2025-12-29
PERIODS = {"hourly": "%Y-%m-%d %H", "daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m", "yearly": "%Y"}

_TIMES = st.one_of(
    st.integers(-40 * 24, 40 * 24).map(lambda hours: NEW_YEAR_US + hours * HOUR_US),
    st.sampled_from([-1, 0, 1, -DAY_US, 365 * DAY_US]).map(lambda us: NEW_YEAR_US + us),
    st.integers(0, INTEGER_MAX),
)
_TAGS = st.lists(st.sampled_from(["release-1", "release-2", "best"]), max_size=2, unique=True).map(tuple)


def _candidates(drawn: list[tuple[int, tuple[str, ...]]], numbers: Sequence[int]) -> list[Candidate]:
    return [Candidate(f"p{number}", at_us, number, tags) for (at_us, tags), number in zip(drawn, numbers, strict=True)]


@st.composite
def groups(draw: st.DrawFn) -> list[Candidate]:
    """Packages of one name in any order, some of them with the same time."""
    drawn = draw(st.lists(st.tuples(_TIMES, _TAGS), max_size=12))
    return _candidates(drawn, draw(st.permutations(range(len(drawn)))))


_COUNT = st.integers(1, 5)
RULES: dict[str, st.SearchStrategy[Any]] = {
    "last": _COUNT,
    **dict.fromkeys(PERIODS, _COUNT),
    "within_us": st.sampled_from([1, HOUR_US, DAY_US, 30 * DAY_US]),
    "tagged": st.sampled_from([("best",), ("release-*",), ("release-*", "best")]),
}


def rule_sets() -> st.SearchStrategy[KeepRules]:
    names = st.sets(st.sampled_from(list(RULES)), min_size=1)
    return names.flatmap(lambda some: st.fixed_dictionaries({name: RULES[name] for name in some})).map(
        lambda chosen: KeepRules(**chosen)
    )


def is_newer(one: Candidate, other: Candidate) -> bool:
    return (one.finalized_at_us, one.finalized_sequence) > (other.finalized_at_us, other.finalized_sequence)


def period(each: Candidate, form: str) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=each.finalized_at_us)).strftime(form)


def kept_by_last(count: int, group: list[Candidate]) -> set[str]:
    """A package is kept if fewer packages than the number are newer."""
    return {each.package_id for each in group if sum(is_newer(other, each) for other in group) < count}


def kept_by_period(form: str) -> Callable[[int, list[Candidate]], set[str]]:
    """A package is kept if none of its period is newer, and fewer periods than the number have a newer package."""

    def kept(count: int, group: list[Candidate]) -> set[str]:
        found: set[str] = set()
        for each in group:
            newer = {period(other, form) for other in group if is_newer(other, each)}
            if period(each, form) not in newer and len(newer) < count:
                found.add(each.package_id)
        return found

    return kept


def kept_by_age(within_us: int, group: list[Candidate]) -> set[str]:
    newest_us = max((each.finalized_at_us for each in group), default=0)
    return {each.package_id for each in group if newest_us - each.finalized_at_us <= within_us}


def kept_by_tags(patterns: tuple[str, ...], group: list[Candidate]) -> set[str]:
    def fits(tag: str) -> bool:
        return tag in patterns or ("release-*" in patterns and tag.startswith("release-"))

    return {each.package_id for each in group if any(map(fits, each.tags))}


DEFINITIONS: dict[str, Callable[[Any, list[Candidate]], set[str]]] = {
    "last": kept_by_last,
    **dict(zip(PERIODS, map(kept_by_period, PERIODS.values()), strict=True)),
    "within_us": kept_by_age,
    "tagged": kept_by_tags,
}


def kept(rules: KeepRules, group: list[Candidate]) -> set[str]:
    return {package_id for package_id, texts in judge_candidates(rules, group).items() if texts}


@pytest.mark.parametrize("name", RULES)
@given(data=st.data(), group=groups())
def test_a_rule_alone_keeps_what_its_definition_says(name: str, data: st.DataObject, group: list[Candidate]) -> None:
    value = data.draw(RULES[name])
    assert kept(KeepRules(**{name: value}), group) == DEFINITIONS[name](value, group)


@given(rule_sets(), groups())
def test_each_rule_is_judged_alone_and_named(rules: KeepRules, group: list[Candidate]) -> None:
    alone = [KeepRules.of_map({name: value}) for name, value in rules.to_map().items() if name != "tagged"]
    alone += [KeepRules(tagged=(pattern,)) for pattern in rules.tagged]
    judged = judge_candidates(rules, group)
    assert [text for rule in alone for text in rule.texts()] == list(rules.texts())
    for text, rule in zip(rules.texts(), alone, strict=True):
        assert {package_id for package_id, texts in judged.items() if text in texts} == kept(rule, group)
    newest_first = sorted(group, key=lambda each: (-each.finalized_at_us, -each.finalized_sequence))
    assert list(judged) == [each.package_id for each in newest_first]


@given(rule_sets(), rule_sets(), groups())
def test_one_more_rule_never_lets_more_go(rules: KeepRules, others: KeepRules, group: list[Candidate]) -> None:
    more = {name: value for name, value in structs.asdict(others).items() if not getattr(rules, name)}
    assert kept(rules, group) <= kept(structs.replace(rules, **more), group)


@given(rule_sets(), groups())
def test_a_second_time_changes_nothing(rules: KeepRules, group: list[Candidate]) -> None:
    once = kept(rules, group)
    rest = [each for each in group if each.package_id in once]
    assert judge_candidates(rules, rest) == {
        package_id: texts for package_id, texts in judge_candidates(rules, group).items() if texts
    }


@given(rule_sets())
def test_rules_are_what_their_map_says(rules: KeepRules) -> None:
    assert KeepRules.of_map(rules.to_map()) == rules


@pytest.mark.parametrize(
    ("given_rules", "reason"),
    [
        ({}, "give at least one rule"),
        ({"tagged": ()}, "give at least one rule"),
        ({"last": 0}, "give a number from 1"),
        ({"daily": 1_000_001}, "give a number from 1"),
        ({"weekly": True}, "give a whole number"),
        ({"within_us": 0}, "at least 1 microsecond"),
        ({"tagged": ("a", "a")}, "each once"),
        ({"tagged": ("[",)}, "end each set"),
    ],
)
def test_what_is_no_set_of_rules(given_rules: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        KeepRules(**given_rules)


@pytest.mark.parametrize("odd", [{"newest": 3}, {"last": 3, "tagged": []}, {"last": "3"}, {"tagged": "abc"}])
def test_a_map_that_no_rules_have_is_rejected(odd: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        KeepRules.of_map(odd)


@pytest.mark.parametrize(("text", "us"), [("30m", HOUR_US // 2), ("12h", 12 * HOUR_US), ("14d", 14 * DAY_US)])
def test_a_duration_is_written_as_it_is_read(text: str, us: int) -> None:
    assert duration_us(text) == us
    assert duration_text(us) == text


def test_a_week_of_nightlies() -> None:
    at = (NEW_YEAR_US + hours * HOUR_US for hours in (0, 6, 24, 30, 48))
    group = list(starmap(Candidate, zip("abcde", at, range(5), strict=True)))
    assert judge_candidates(KeepRules(last=2, daily=2, monthly=1), group) == {
        "e": ("last 2", "daily 2", "monthly 1"),
        "d": ("last 2", "daily 2"),
        "c": (),
        "b": (),
        "a": (),
    }
