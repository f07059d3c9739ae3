"""Calls of a registry that keep packages, end them, and give their room back; `calls.py` makes the others."""

from contextlib import aclosing
from typing import Final, assert_never

from artifactstore.registry import Registry
from artifactstore_protocols.collection import CollectionReport
from artifactstore_protocols.expiry import ABANDONED_AFTER
from artifactstore_protocols.records import ExpiredPackage, Hold, PackageRecord
from simulation.endings import (
    JUMP_US,
    Collect,
    DeletePackage,
    Expire,
    Extend,
    MoveClock,
    PlaceHold,
    ReleaseHold,
    Retain,
)
from simulation.world import World

__all__ = ["Keeping", "Kept", "keep_or_end"]

_HOUR_S: Final = 3600.0

type Keeping = DeletePackage | PlaceHold | ReleaseHold | Retain | Extend | Expire | Collect | MoveClock

type Kept = PackageRecord | Hold | list[ExpiredPackage] | CollectionReport | int
"""What the registry answers to these; 0 where there was nothing to do."""


async def keep_or_end(
    registry: Registry, operation: Keeping, package_id: str, world: World, *, principal: str, key: str | None
) -> Kept:
    """Make one attempt; returns what the registry answers, and raises what it raises."""
    match operation:
        case DeletePackage(before_expiry=early):
            return await registry.delete_package(package_id, reason="a test", before_expiry=early, principal=principal)
        case PlaceHold():
            return await registry.place_hold(package_id, reason="a case", principal=principal, idempotency_key=key)
        case ReleaseHold():
            return await _release(registry, package_id, principal)
        case Retain(days=days):
            return await registry.set_retention(package_id, f"{days}d" if days else "permanent", principal=principal)
        case Extend():
            return await registry.extend_retention(package_id, "1d", principal=principal, idempotency_key=key)
        case Expire(soon=soon):
            expired = registry.expire_packages(abandoned_after="1m" if soon else ABANDONED_AFTER, principal=principal)
            async with aclosing(expired) as packages:
                return [each async for each in packages]
        case Collect(grace=grace, orphan_age=age):
            return await registry.collect_garbage(
                grace_s=_HOUR_S * grace, orphan_age_s=_HOUR_S * age, principal=principal
            )
        case MoveClock(jump=jump, confirmed=confirmed):
            world.clock_ahead_us += JUMP_US[jump]
            return await registry.confirm_clock(principal=principal) if confirmed else 0
        case _:
            assert_never(operation)


async def _release(registry: Registry, package_id: str, principal: str) -> Hold | int:
    async with aclosing(registry.list_holds(package_id)) as holds:
        async for hold in holds:
            await registry.release_hold(hold.hold_id, principal=principal)
            return hold
    return 0
