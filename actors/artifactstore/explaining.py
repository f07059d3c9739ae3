"""Why a package is kept, goes with the next run of expiry, or is gone: each reason, with the sequence of its event.

If a keep policy matches the name of the package, this reads all finalized packages of the name, because the policy
judges them together. Otherwise it reads only what is about the package.
"""

from collections.abc import Generator, Sequence

from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.globs import glob_matcher
from artifactstore_protocols.keep_policies import judge_package
from artifactstore_protocols.life_cycle import RETENTION_ENDED
from artifactstore_protocols.moments import time_text
from artifactstore_protocols.records import PackageRecord, PolicyVerdict, RetentionReport

__all__ = ["explain"]

_HOLDS_MAX = 500


async def explain(store: EventStore, package_id: str, now_us: int) -> RetentionReport:
    """Return what keeps a package and until when, or what lets or let it go.

    Raises:
        PackageNotFound: no package has this id.
    """
    package = await store.package(package_id)
    sequence, tags = await store.kept_by(package_id)
    holds = await store.holds(package_id=package_id, after="", limit=_HOLDS_MAX)
    if package.is_gone:
        how = "deleted" if package.status == "deleted" else "expired by rule"
        at = time_text(package.gone_at_us or 0)
        reason = f"{how}: {package.gone_reason}, on {at} by {package.gone_by} (event {package.gone_sequence})"
        return RetentionReport(package, sequence, holds, tags, (), (), is_kept=False, reasons=(reason,))
    policies = await _policies_of(store, package, now_us)
    is_guarded = bool(holds or tags) or package.status == "open" or package.expires_at_us is None
    goes_by = () if is_guarded else tuple(_rules_by_which_it_goes(package, policies, now_us))
    reasons = [f"hold {each.hold_id} by {each.placed_by}: {each.reason} (event {each.sequence})" for each in holds]
    reasons += [f"protected tag {each.tag!r} (event {each.sequence})" for each in tags]
    reasons.append(_retention_text(package, sequence, goes_by, now_us))
    reasons += map(_policy_text, policies)
    return RetentionReport(
        package, sequence, holds, tags, policies, goes_by, is_kept=not goes_by, reasons=tuple(reasons)
    )


async def _policies_of(store: EventStore, package: PackageRecord, now_us: int) -> Sequence[PolicyVerdict]:
    """Return what the policies that match the name of a package say about it; nothing about an open one."""
    policies = [each for each in await store.keep_policies() if glob_matcher(each.group)(package.name)]
    if not policies or package.status == "open":
        return ()
    packages = [each.candidate for each in await store.group(package.name)]
    if all(each.package_id != package.package_id for each in packages):  # it went meanwhile
        return ()
    return judge_package(policies, package.name, packages, package.package_id, now_us)


def _rules_by_which_it_goes(package: PackageRecord, policies: Sequence[PolicyVerdict], now_us: int) -> Generator[str]:
    """Yield the rules that let go a package which nothing guards, as its record would give them."""
    if package.expires_at_us is not None and package.expires_at_us <= now_us:
        yield RETENTION_ENDED
    if policies and not any(each.kept_by for each in policies):
        yield f"policy:{policies[0].group}"


def _retention_text(package: PackageRecord, sequence: int, goes_by: Sequence[str], now_us: int) -> str:
    ends_at_us, name = package.expires_at_us, package.retention_class
    if package.status == "open":
        return "it is open: it expires only if nobody touches it for a while"
    if ends_at_us is None:
        return f"retention {name} (event {sequence})"
    if ends_at_us <= now_us:
        return f"its retention {name} ended on {time_text(ends_at_us)} (event {sequence})"
    unheeded = "; keep policies do not wait for its end" if goes_by else ""
    return f"retention {name} until {time_text(ends_at_us)} (event {sequence}){unheeded}"


def _policy_text(policy: PolicyVerdict) -> str:
    said = f"keeps it: {', '.join(policy.kept_by)}" if policy.kept_by else "does not keep it"
    return f"keep policy {policy.group} {said} (event {policy.sequence})"
