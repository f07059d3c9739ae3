"""The decision that applies keep policies: which packages of one name go, judged again inside the commit.

A caller has read the packages before. Meanwhile somebody can have set a tag or a policy, or deleted a package. So the
decision judges all packages of the name again, and lets go only those that the caller names and that nothing keeps.
"""

from collections.abc import Iterable, Mapping

from artifactstore_protocols.event_types.ending import ending_needs
from artifactstore_protocols.event_types.package_expired import PackageExpired, expire_package
from artifactstore_protocols.keep_policies import ApplyKeepPolicies, judge_group, policies_for
from artifactstore_protocols.life_cycle import ExpirePackage
from artifactstore_protocols.packages import PackageKept
from artifactstore_protocols.state import LogState, Needs

__all__ = ["application_needs", "apply_keep_policies", "obstacle_needs", "obstacles"]


def application_needs(command: ApplyKeepPolicies) -> Needs:
    """Return the state that `apply_keep_policies` needs."""
    of_name = Needs(keep_policies=True, groups=frozenset({command.name}))
    return Needs.of_all((of_name, obstacle_needs(command.package_ids)))


def obstacle_needs(package_ids: Iterable[str]) -> Needs:
    """Return the state that `obstacles` needs."""
    return Needs.of_all(map(ending_needs, package_ids))


def apply_keep_policies(command: ApplyKeepPolicies, state: LogState) -> tuple[PackageExpired, ...]:
    """Return the payloads by which packages go: those that are named, and that no policy and nothing else keeps."""
    policies = policies_for(command.name, state.keep_policies)
    if command.group not in policies:
        return ()
    kept = judge_group(policies, state.groups.get(command.name, {}).values(), command.as_of_us)
    let_go = [package_id for package_id in command.package_ids if kept.get(package_id) == ()]
    expired = (_expired(package_id, command.rule, command.as_of_us, state) for package_id in let_go)
    return tuple(each for each in expired if isinstance(each, PackageExpired))


def obstacles(package_ids: Iterable[str], state: LogState) -> Mapping[str, str]:
    """Return for each package that no policy can let go the reason, such as its retention or a protected tag."""
    found = ((package_id, _expired(package_id, "policy:", 0, state)) for package_id in package_ids)
    return {package_id: each.reason for package_id, each in found if isinstance(each, PackageKept)}


def _expired(package_id: str, rule: str, as_of_us: int, state: LogState) -> PackageExpired | PackageKept | None:
    package = state.packages.get(package_id)
    if package is None:
        return None
    try:
        return expire_package(ExpirePackage(package_id, rule, as_of_us, package.version), state)
    except PackageKept as kept:
        return kept
