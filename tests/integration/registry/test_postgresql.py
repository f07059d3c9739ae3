"""The same registry on PostgreSQL: two of them at once, a tail over both, and a replay that is identical."""

import pytest
import trio
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols.events import StoredEvent
from integration.registry.samples import add, check_sound, content_of

PRODUCERS = 16


@pytest.mark.slow
async def test_two_registries_at_once(settings: Settings, postgres_location: DatabaseLocation) -> None:
    shared = replace(settings, database_url=postgres_location.url.render_as_string(hide_password=False))
    seen: list[StoredEvent] = []
    finalized: list[str] = []

    async def follow(registry: Registry, until: int) -> None:
        async with registry.tail_events() as tail:
            async for stored in tail:
                seen.append(stored)
                if stored.sequence == until:
                    return

    async def produce(registry: Registry, number: int) -> None:
        package = (await registry.create_package(f"p{number}", idempotency_key=f"create {number}")).package_id
        await add(registry, package, "f", b"%d" % number)
        finalized.append((await registry.finalize_package(package)).package_id)

    async with open_registry(shared) as one, open_registry(shared) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, one, 4 * PRODUCERS + 1)
            for number in range(PRODUCERS):
                nursery.start_soon(produce, (one, two)[number % 2], number)
        assert seen == await check_sound(one)
        assert len(set(finalized)) == PRODUCERS
        digest = (await two.replay()).projection_digest
        assert (await one.replay(check=True)).projection_digest == digest
        await two.create_package("p3", idempotency_key="create 3")
        assert await check_sound(two) == seen, "a repeated call writes nothing"
        assert await content_of(two, finalized[0], "f") == await content_of(one, finalized[0], "f")
        assert (await one.health(max_age_s=0)).healthy
