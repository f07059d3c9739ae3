"""Keep policies: keep rules for the packages of one name, or of every name that a pattern matches.

If several policies match a name, each of them is judged alone, and a package is kept if any of them keeps it. No order
and no precedence exists, so a further policy never lets more of a name's packages go than the other policies do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.globs import glob_matcher
from artifactstore_protocols.keep_rules import Candidate, KeepRules, judge_candidates

__all__ = ["KEEP_POLICIES_MAX", "KeepPolicy", "KeepPolicyNotFound", "judge_group", "policies_for"]

KEEP_POLICIES_MAX: Final = 1000
"""The most keep policies in one store. All of them are read to judge a package."""


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


@dataclass(eq=False)
class KeepPolicyNotFound(ArtifactStoreError):
    """There is no keep policy for this group."""

    group: str
    template = (
        "there is no keep policy for {self.group!r}; `artifactstore retention policy list` shows those that there are"
    )


def policies_for(name: str, policies: Mapping[str, KeepRules]) -> Mapping[str, KeepRules]:
    """Return the policies that match a package name, in the order of their groups."""
    return {group: policies[group] for group in sorted(policies) if glob_matcher(group)(name)}


def judge_group(policies: Mapping[str, KeepRules], packages: Iterable[Candidate]) -> Mapping[str, tuple[str, ...]]:
    """Return for each package of one name, newest first, what keeps it, as `GROUP: RULE`; nothing if it goes.

    Args:
        policies: the policies that match the name.
        packages: the finalized packages of the name.
    """
    candidates = tuple(packages)
    kept: dict[str, tuple[str, ...]] = {}
    for group, rules in policies.items():
        for package_id, texts in judge_candidates(rules, candidates).items():
            kept[package_id] = kept.get(package_id, ()) + tuple(f"{group}: {text}" for text in texts)
    return kept
