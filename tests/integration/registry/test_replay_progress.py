"""Whoever watches a replay is told of every batch, in order, in the caller's own event loop."""

import threading

import pytest

from artifactstore import Registry
from artifactstore_protocols.records import ReplayProgress
from integration.registry.samples import Boom


@pytest.mark.parametrize("check", [True, False], ids=["check", "rebuild"])
async def test_a_replay_tells_how_far_it_is(registry: Registry, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    monkeypatch.setattr("artifactstore.database.events._REPLAY_BATCH", 2)
    for name in "abcde":
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


async def test_what_a_watcher_raises_is_raised_and_the_store_goes_on(registry: Registry) -> None:
    await registry.create_package("a")

    def fail(_counts: ReplayProgress) -> None:
        raise Boom

    with pytest.raises(Boom):
        await registry.replay(progress=fail)
    assert (await registry.replay(check=True)).identical
