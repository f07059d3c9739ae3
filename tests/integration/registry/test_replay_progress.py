"""Progress of a replay: every batch, in order, in the caller's own event loop."""

import threading
from collections.abc import Callable

import pytest
import trio

from artifactstore import Registry
from artifactstore.callbacks import thread_safe_callback
from artifactstore.database.asyncio_core import AsyncConnection
from artifactstore.database.schema import ViewTables
from artifactstore.database.views import projection_digest
from artifactstore_protocols.identity import Digest
from artifactstore_protocols.records import ReplayProgress
from integration.registry.samples import Boom


@pytest.mark.parametrize("check", [True, False], ids=["check", "rebuild"])
async def test_a_replay_tells_how_far_it_is(registry: Registry, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    monkeypatch.setattr("artifactstore.database.events._REPLAY_BATCH", 2)
    for name in "abcd":
        await registry.create_package(name)
    told: list[ReplayProgress] = []
    threads: set[int] = set()

    def watch(counts: ReplayProgress) -> None:
        told.append(counts)
        threads.add(threading.get_ident())

    report = await registry.replay(check=check, progress=watch)
    assert report.identical
    assert told == [ReplayProgress(events, 5) for events in (2, 4, 5)]
    assert threads == {threading.get_ident()}


async def test_what_a_watcher_raises_is_raised_and_the_store_continues(registry: Registry) -> None:
    await registry.create_package("a")

    def fail(_counts: ReplayProgress) -> None:
        raise Boom

    with pytest.raises(Boom):
        await registry.replay(progress=fail)
    assert (await registry.replay(check=True)).identical


@pytest.mark.parametrize("check", [True, False], ids=["check", "rebuild"])
async def test_a_replay_whose_caller_has_left_ends_with_its_next_batch(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    """A signal ends a command by cancelling it; a service that continues does no work that nobody waits for."""
    monkeypatch.setattr("artifactstore.database.events._REPLAY_BATCH", 2)
    for name in "abcde":
        await registry.create_package(name)
    left = threading.Event()
    digests = 0

    def waiting(tell: Callable[[ReplayProgress], None]) -> Callable[[ReplayProgress], None]:
        pass_on = thread_safe_callback(tell)

        def tell_and_wait(counts: ReplayProgress) -> None:
            pass_on(counts)
            left.wait()

        return tell_and_wait

    async def counting(connection: AsyncConnection, tables: ViewTables) -> Digest:
        nonlocal digests
        digests += 1
        return await projection_digest(connection, tables)

    monkeypatch.setattr("artifactstore.registry.transfer.thread_safe_callback", waiting)
    monkeypatch.setattr("artifactstore.database.replay.projection_digest", counting)
    try:
        with trio.CancelScope() as scope:
            await registry.replay(check=check, progress=lambda _counts: scope.cancel())
    finally:
        left.set()
    assert scope.cancelled_caught
    assert (await registry.replay(check=True)).identical
    assert digests == 2, "those of the second one"
