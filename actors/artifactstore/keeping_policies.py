"""Applying keep policies: what they say about every package, and letting packages go, one name at a time.

Memory holds the packages of one name. Each command lets go of at most `APPLIED_MAX` packages, and judges them again.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import batched

from msgspec.structs import replace

from artifactstore.environment import environment
from artifactstore.expiry import check_clock_of
from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import PackageExpired
from artifactstore_protocols.events import Committed
from artifactstore_protocols.expiry import check_share
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
from artifactstore_protocols.life_cycle import ObserveClock

__all__ = ["apply_policies"]

_CHANGED = "changed meanwhile"

type Commit = Callable[[ApplyKeepPolicies | ObserveClock], Awaitable[Committed]]


async def verdicts(store: EventStore, group: str | None, now_us: int) -> AsyncGenerator[Sequence[KeepVerdict]]:
    """Yield what the policies say about the packages of each name that one of them matches, newest first.

    Args:
        store: the event store.
        group: the group whose packages are judged; None for those of every policy. Every policy can keep a package.
        now_us: the time of judging, in microseconds since 1970 UTC.

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
            yield await _judged(store, chosen, matching, members, now_us)


async def _judged(
    store: EventStore, group: str, policies: Mapping[str, KeepRules], members: Sequence[GroupMember], now_us: int
) -> Sequence[KeepVerdict]:
    by_id = {each.candidate.package_id: each for each in members}
    kept = dict(judge_group(policies, (each.candidate for each in members), now_us))
    for some in batched([package_id for package_id, texts in kept.items() if not texts], APPLIED_MAX):
        kept.update((package_id, (reason,)) for package_id, reason in (await store.obstacles(some)).items())
    return [_verdict(by_id[package_id], texts, group) for package_id, texts in kept.items()]


def _verdict(member: GroupMember, kept_by: tuple[str, ...], group: str) -> KeepVerdict:
    package_id, finalized_at_us, _sequence, tags = member.candidate
    rule = "" if kept_by else f"policy:{group}"
    return KeepVerdict(
        package_id=package_id,
        name=member.name,
        finalized_at_us=finalized_at_us,
        bytes=member.bytes,
        tags=tags,
        retention_class=member.retention_class,
        expires_at_us=member.expires_at_us,
        kept_by=kept_by,
        rule=rule,
    )


async def apply_policies(
    store: EventStore, group: str | None, commit: Commit, *, dry_run: bool, confirmed: int | None
) -> AsyncGenerator[KeepVerdict]:
    """Yield what the policies say about each package, once those of its name that go are gone.

    A package that somebody has changed meanwhile so that something keeps it stays, and is reported as kept.

    Raises:
        KeepPolicyNotFound: the group has no policy.
        ClockDoubtful: the clock differs too much from the time that the store saw last.
        TooMuchExpires: more than half of the packages of the group, or of the store, would go, or another number than
            the confirmed one.
    """
    now_us = environment.get().now_us()
    await check_clock_of(store, now_us)
    if not dry_run:
        going = packages = 0
        async with aclosing(verdicts(store, group, now_us)) as of_names:
            async for judged in of_names:
                going, packages = going + sum(bool(each.rule) for each in judged), packages + len(judged)
        if group is None:
            packages = (await store.stats()).packages
        check_share(going, packages, confirmed, group=group)
        await commit(ObserveClock(now_us))
    async with aclosing(verdicts(store, group, now_us)) as of_names:
        async for judged in of_names:
            gone = set[str]() if dry_run else await _let_go(judged, commit, now_us)
            for each in judged:
                is_left = each.rule and not dry_run and each.package_id not in gone
                yield replace(each, kept_by=(_CHANGED,), rule="") if is_left else each


async def _let_go(judged: Sequence[KeepVerdict], commit: Commit, now_us: int) -> set[str]:
    """Commit the end of the packages that go, and return the ids of those that went."""
    gone: set[str] = set()
    for some in batched([each for each in judged if each.rule], APPLIED_MAX):
        ids = tuple(each.package_id for each in some)
        command = ApplyKeepPolicies(some[0].rule.removeprefix("policy:"), some[0].name, ids, now_us)
        expired = (await commit(command)).payloads()
        gone.update(each.package_id for each in expired if isinstance(each, PackageExpired))
    return gone
