"""Applying keep policies: what they say about every package, and letting packages go, one name at a time.

Memory holds the packages of one name. Each command lets go of at most `APPLIED_MAX` packages, and judges them again.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from itertools import batched

from msgspec.structs import replace

from artifactstore.environment import environment
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import PackageExpired
from artifactstore_protocols.events import Committed
from artifactstore_protocols.globs import glob_matcher
from artifactstore_protocols.keep_policies import (
    APPLIED_MAX,
    ApplyKeepPolicies,
    GroupMember,
    KeepPolicyNotFound,
    KeepVerdict,
    judge_group,
    policies_for,
)
from artifactstore_protocols.keep_rules import KeepRules

__all__ = ["apply_policies", "verdicts"]

_CHANGED = "changed meanwhile"


async def verdicts(store: EventStore, group: str | None) -> AsyncGenerator[Sequence[KeepVerdict]]:
    """Yield what the policies say about the packages of each name that one of them matches, newest first.

    Args:
        store: the event store.
        group: the group whose packages are judged; None for those of every policy. Every policy can keep a package.

    Raises:
        KeepPolicyNotFound: the group has no policy.
    """
    policies = {each.group: each.rules for each in await store.keep_policies()}
    if group is not None and group not in policies:
        raise KeepPolicyNotFound(group)
    groups = [*policies] if group is None else [group]
    pattern = groups[0] if len(groups) == 1 else None
    after = ""
    while groups and (members := await store.next_group(name=pattern, after=after)):
        after = members[0].name
        matching = policies_for(after, policies)
        chosen = group if group is not None else next(iter(matching), None)
        if chosen is not None and glob_matcher(chosen)(after):
            yield await _judged(store, chosen, matching, members)


async def _judged(
    store: EventStore, group: str, policies: Mapping[str, KeepRules], members: Sequence[GroupMember]
) -> Sequence[KeepVerdict]:
    by_id = {each.candidate.package_id: each for each in members}
    kept = dict(judge_group(policies, (each.candidate for each in members)))
    for some in batched([package_id for package_id, texts in kept.items() if not texts], APPLIED_MAX):
        kept.update((package_id, (reason,)) for package_id, reason in (await store.obstacles(some)).items())
    return [_verdict(by_id[package_id], texts, group) for package_id, texts in kept.items()]


def _verdict(member: GroupMember, kept_by: tuple[str, ...], group: str) -> KeepVerdict:
    package_id, finalized_at_us, _sequence, tags = member.candidate
    rule = "" if kept_by else f"policy:{group}"
    return KeepVerdict(package_id, member.name, finalized_at_us, member.bytes, tags, kept_by, rule)


async def apply_policies(
    store: EventStore, group: str | None, commit: Callable[[ApplyKeepPolicies], Awaitable[Committed]]
) -> AsyncGenerator[KeepVerdict]:
    """Yield what the policies say about each package, once those of its name that go are gone.

    A package that somebody has changed meanwhile so that something keeps it stays, and is reported as kept.
    """
    async for judged in verdicts(store, group):
        going = [each for each in judged if each.rule]
        gone: set[str] = set()
        for some in batched(going, APPLIED_MAX):
            ids = tuple(each.package_id for each in some)
            policy, now_us = some[0].rule.removeprefix("policy:"), environment.get().now_us()
            committed = await commit(ApplyKeepPolicies(policy, some[0].name, ids, now_us))
            gone.update(each.package_id for each in committed.payloads() if isinstance(each, PackageExpired))
        for each in judged:
            is_left = each.rule and each.package_id not in gone
            yield replace(each, kept_by=(_CHANGED,), rule="") if is_left else each
