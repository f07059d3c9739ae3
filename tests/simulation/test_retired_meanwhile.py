"""Whole stores in virtual time, with a collector that retires what an ingest has stored, right before its commit."""

import pytest

from artifactstore.ingest.steps import Steps
from artifactstore_protocols.commands import Command, IngestFiles, RemoveObjects, RetireObjects
from artifactstore_protocols.events import Committed
from artifactstore_protocols.messages import DeleteObjects
from simulation.calls import Ending
from simulation.run import simulate
from simulation.workload import Client, CreatePackage, IngestDirectory, IngestFile, Operation, Workload

CREATE = CreatePackage(0, keyed=True)
SEEDS = range(4)


def put(path: int, content: int, *, chunks: int, replace: bool = False) -> IngestFile:
    return IngestFile(0, path, content, chunks, breaks_after=9, replace=replace, keyed=False)


class Collector:
    """Strikes at some commits of entries, before they are decided.

    Attributes:
        retired: how many keys it has retired.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, strikes_at: int, cause: str, deletes: bool) -> None:
        self.retired = 0
        self._commits = 0
        self._original = Steps.commit
        self._strikes_at, self._cause, self._deletes = strikes_at, cause, deletes

        async def commit(steps: Steps, command: Command, actor: str, key: str | None) -> Committed:
            return await self.commit(steps, command, actor, key)  # a bound method would not be given the steps

        monkeypatch.setattr(Steps, "commit", commit)

    async def commit(self, steps: Steps, command: Command, actor: str, key: str | None) -> Committed:
        if isinstance(command, IngestFiles) and command.stored:
            self._commits += 1
            if self._commits == self._strikes_at:
                await self._strike(steps, command)
        return await self._original(steps, command, actor, key)

    async def _strike(self, steps: Steps, command: IngestFiles) -> None:
        places = tuple({stored.place: None for stored in command.stored})
        done = await self._original(steps, RetireObjects(places, self._cause), "collector", None)
        self.retired += len(places) if done.events else 0
        if self._deletes:
            await steps._storage.ask(DeleteObjects(places))  # pyright: ignore[reportPrivateUsage]
            await self._original(steps, RemoveObjects(places), "collector", None)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("operation", [put(0, 1, chunks=0), IngestDirectory(0, 1, replace=False)], ids=["file", "tree"])
def test_an_orphan_that_is_retired_while_its_ingest_runs_is_stored_again_unseen(
    monkeypatch: pytest.MonkeyPatch, operation: Operation, seed: int
) -> None:
    collector = Collector(monkeypatch, strikes_at=1, cause="orphan", deletes=True)
    outcome = simulate(seed, Workload((Client(0, together=False, operations=(CREATE, operation)),)))
    outcome.check()
    assert collector.retired > 0
    assert outcome.endings[Ending.ANSWERED] == sum(outcome.endings.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_whose_orphan_is_retired_is_copied_to_its_next_key(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    collector = Collector(monkeypatch, strikes_at=1, cause="orphan", deletes=False)
    outcome = simulate(seed, Workload((Client(0, together=False, operations=(CREATE, put(0, 1, chunks=2))),)))
    outcome.check()
    assert collector.retired > 0
    assert outcome.endings[Ending.ANSWERED] == sum(outcome.endings.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_content_that_was_removed_comes_back_under_its_next_key(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """It was in the package once; its second commit meets a key that is removed just then."""
    collector = Collector(monkeypatch, strikes_at=3, cause="condemned", deletes=True)
    first, other, again = put(0, 1, chunks=0), put(0, 2, chunks=0, replace=True), put(1, 1, chunks=0)
    outcome = simulate(seed, Workload((Client(0, together=False, operations=(CREATE, first, other, again)),)))
    outcome.check()
    assert collector.retired > 0
    assert outcome.endings[Ending.ANSWERED] == sum(outcome.endings.values())
