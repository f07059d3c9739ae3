"""An actor of one's own under the supervisor: an index of finalized packages that survives its own crashes.

Run me: python custom_actor.py
It makes a store below ./actor-store, asks the index for the latest package of a name, breaks it, and asks again.

The actor follows the log in a task of its own. It keeps nothing that the log does not say, so that a restart costs
nothing but reading the log again: let it crash, and the supervisor brings it back.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import override

import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore.supervision import (
    Actor,
    ActorCrashed,
    ActorRef,
    ActorSpec,
    Backoff,
    CrashReport,
    Report,
    Request,
    SupervisorSpec,
    handles,
    open_tree,
)
from artifactstore_protocols import manifest

SETTINGS = Settings(database_url="sqlite:///actor-store/log.db", storage_local_root=Path("actor-store/objects"))


class IndexRole:
    """Knows the latest finalized package of each name."""


@dataclass(frozen=True, slots=True)
class LatestOf(Request[str | None, IndexRole]):
    """Ask for the id of the latest finalized package of a name, once the index has seen an event.

    Attributes:
        name: of the packages.
        after: the sequence of an event that must be in the index already, such as one's own last write.
    """

    name: str
    after: int = 0


class LatestIndex(Actor[IndexRole]):
    """Follows the log and answers `LatestOf`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._latest: dict[str, str] = {}
        self._seen = 0
        self._more = trio.Event()

    @override
    async def on_start(self) -> None:
        # A task of the actor: it is cancelled when the actor stops, and its failure is the actor's failure.
        self.context.start_child("follow", self._follow)

    @override
    def state_summary(self) -> dict[str, str | int]:
        return {"names": len(self._latest), "events seen": self._seen}

    @handles(LatestOf)
    async def latest_of(self, message: LatestOf) -> str | None:
        """Answer when the index is as new as the asker needs it; the ask's own timeout bounds the wait."""
        if not message.name:
            raise ValueError("a defect, for the sake of the example: nobody has thought of the empty name")
        while self._seen < message.after:
            await self._more.wait()
        return self._latest.get(message.name)

    async def _follow(self) -> None:
        async with self._registry.tail_events() as events:
            async for stored in events:
                if stored.event.type == "v1.package.finalized":
                    finalized = manifest.decode(stored.event.payload)
                    self._latest[finalized.package.name] = finalized.package.package_id
                self._seen = stored.sequence
                self._more.set()
                self._more = trio.Event()


def told(report: Report) -> None:
    """Print the reports that matter here. All of them also go to the log."""
    if isinstance(report, CrashReport):
        print(f"{report.path} crashed with {type(report.cause).__name__}: {report.decision}")


async def main() -> None:
    logging.getLogger("artifactstore.supervision").setLevel(logging.CRITICAL)  # `told` prints instead
    index = ActorRef[IndexRole]("index")
    async with open_registry(SETTINGS) as registry:
        spec = SupervisorSpec(
            name="mine",
            children=(
                ActorSpec(
                    ref=index,
                    factory=lambda: LatestIndex(registry),  # called anew for every start
                    backoff=Backoff(initial_s=0),
                ),
            ),
        )
        async with open_tree(spec, on_report=told) as tree:
            first, second = [await registry.create_package("app") for _ in range(2)]
            await registry.finalize_package(first.package_id)
            finalized = await registry.finalize_package(second.package_id)
            latest = await index.ask(LatestOf("app", after=finalized.sequence))
            print("the latest is the second:", latest == second.package_id)

            try:
                await index.ask(LatestOf(""))
            except ActorCrashed as crashed:
                print("the asker is told at once:", type(crashed).__name__)

            # The same reference reaches the new incarnation, which has read the log again.
            again = await index.ask(LatestOf("app", after=finalized.sequence))
            print("and again:", again == latest, "- starts:", tree.snapshot().actor("mine/index").starts)


if __name__ == "__main__":
    trio.run(main)
