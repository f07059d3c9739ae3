"""Keep policies: keep rules for the packages of one name, or of every name that a pattern matches.

If several policies match a name, each of them is judged alone, and a package is kept if any of them keeps it. No order
and no precedence exists, so a further policy never lets more of a name's packages go than the other policies do.
"""

from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import Final, override

from msgspec import Struct

from artifactstore_protocols.canonical import RecordValue
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.globs import glob_matcher
from artifactstore_protocols.ids import check_id
from artifactstore_protocols.keep_rules import Candidate, KeepRules, newest_first, selections
from artifactstore_protocols.life_cycle import LifeCycleCommand
from artifactstore_protocols.names import check_name
from artifactstore_protocols.records import PolicyVerdict
from artifactstore_protocols.typed import check_fields

__all__ = [
    "APPLIED_MAX",
    "IN_THE_FUTURE",
    "KEEP_POLICIES_MAX",
    "ApplyKeepPolicies",
    "GroupMember",
    "KeepPolicy",
    "KeepPolicyNotFound",
    "KeepVerdict",
    "judge_group",
    "judge_package",
    "policies_for",
]

IN_THE_FUTURE: Final = "it was finalized in the future, by a wrong clock"
"""What keeps a package that is newer than the time of judging."""

KEEP_POLICIES_MAX: Final = 1000
"""The most keep policies in one store. All of them are read to judge a package."""


APPLIED_MAX: Final = 256
"""The most packages that one command lets go."""


class KeepPolicy(Struct, frozen=True):
    """A keep policy.

    Attributes:
        group: the name of the packages that it is for, or a glob of names; see `globs`.
        rules: the rules that keep packages.
        set_by: the principal that set it last.
        set_at_us: when, in microseconds since 1970 UTC.
        sequence: the sequence of that event.
    """

    group: str
    rules: KeepRules
    set_by: str
    set_at_us: int
    sequence: int


class KeepVerdict(Struct, frozen=True):
    """What keep policies say about one finalized package.

    Attributes:
        package_id: its id.
        name: its name.
        finalized_at_us: the time of its finalizing, in microseconds since 1970 UTC.
        bytes: the total size of its files.
        tags: its tags.
        retention_class: its retention class.
        expires_at_us: the end of its retention; None if that is permanent. No policy waits for it.
        kept_by: what keeps it: rules as `GROUP: RULE`, or the reason why no policy can let it go; empty if it goes.
        rule: the rule by which it goes, `policy:GROUP`; empty if it is kept.
    """

    package_id: str
    name: str
    finalized_at_us: int
    bytes: int
    tags: tuple[str, ...]
    retention_class: str
    expires_at_us: int | None
    kept_by: tuple[str, ...]
    rule: str

    @property
    def is_kept(self) -> bool:
        """Whether anything keeps it."""
        return not self.rule


class GroupMember(Struct, frozen=True):
    """A finalized package that is neither deleted nor expired, as keep policies see it."""

    name: str
    candidate: Candidate
    bytes: int
    retention_class: str
    expires_at_us: int | None


class ApplyKeepPolicies(LifeCycleCommand, frozen=True):
    """A command that lets packages of one name go if, when it is committed, nothing keeps them.

    Attributes:
        group: the group of the policy by which they go. If other policies match the name, each of them can keep a
            package.
        name: the name of the packages.
        package_ids: the ids of 1 to `APPLIED_MAX` packages. Those that something keeps stay.
        as_of_us: the time of the call, in microseconds since 1970 UTC.
    """

    group: str
    name: str
    package_ids: tuple[str, ...]
    as_of_us: int

    def __post_init__(self) -> None:
        check_fields(self)
        check_name("group", self.group)
        check_name("package name", self.name)
        if not 0 < len(self.package_ids) <= APPLIED_MAX or len(set(self.package_ids)) != len(self.package_ids):
            reason = f"name 1 to {APPLIED_MAX} packages, each once"
            raise InvalidValue("packages", str(len(self.package_ids)), reason)
        for package_id in self.package_ids:
            check_id("package id", package_id)

    @property
    def rule(self) -> str:
        """The rule by which packages go."""
        return f"policy:{self.group}"

    @override
    def asked(self) -> list[RecordValue]:
        return ["apply", self.group, self.name, [*self.package_ids]]


class KeepPolicyNotFound(ArtifactStoreError):
    """There is no keep policy for this group."""

    group: str
    template = (
        "there is no keep policy for {self.group!r}; `artifactstore retention policy list` shows those that there are"
    )


def policies_for(name: str, policies: Mapping[str, KeepRules]) -> Mapping[str, KeepRules]:
    """Return the policies that match a package name, in the order of their groups."""
    return {group: policies[group] for group in sorted(policies) if glob_matcher(group)(name)}


def judge_group(
    policies: Mapping[str, KeepRules], packages: Iterable[Candidate], as_of_us: int
) -> Mapping[str, tuple[str, ...]]:
    """Return for each package of one name, newest first, what keeps it, as `GROUP: RULE`; nothing if it goes.

    A package that was finalized in the future, by a wrong clock, is kept. It does not count for the others: beside it,
    they would all be old. So the time of judging can only keep more.

    Args:
        policies: the policies that match the name.
        packages: the finalized packages of the name.
        as_of_us: the time of judging, in microseconds since 1970 UTC.
    """
    ordered = newest_first(packages)
    kept: dict[str, tuple[str, ...]] = {each.package_id: () for each in ordered}
    first = next((index for index, each in enumerate(ordered) if each.finalized_at_us <= as_of_us), len(ordered))
    kept.update((each.package_id, (IN_THE_FUTURE,)) for each in ordered[:first])
    for group, rules in policies.items():
        for text, keeps in selections(rules, ordered[first:]):
            for each in keeps:
                kept[each.package_id] += (f"{group}: {text}",)
    return kept


def judge_package(
    policies: Iterable[KeepPolicy], name: str, packages: Collection[Candidate], package_id: str, as_of_us: int
) -> tuple[PolicyVerdict, ...]:
    """Return what each policy that matches its name says about a package, in the order of the groups.

    Args:
        policies: all policies of the store.
        name: the name of the package.
        packages: the finalized packages of the name, with this one.
        package_id: the package.
        as_of_us: the time of judging, in microseconds since 1970 UTC.
    """

    def kept_by(policy: KeepPolicy) -> tuple[str, ...]:
        kept = judge_group({policy.group: policy.rules}, packages, as_of_us)[package_id]
        return tuple(text.removeprefix(f"{policy.group}: ") for text in kept)

    matching = sorted((each for each in policies if glob_matcher(each.group)(name)), key=attrgetter("group"))
    return tuple(PolicyVerdict(each.group, kept_by(each), each.sequence) for each in matching)
