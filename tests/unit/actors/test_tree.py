"""The tree of a store gives slow disks and held locks their time: what is merely slow is not reported as stuck."""

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from artifactstore.config import Settings
from artifactstore.database.engines import LOCK_TIMEOUT_S
from artifactstore.supervision import ActorSpec, Report, SupervisorSpec, open_tree
from artifactstore.tree import Actors, tree_spec
from artifactstore_protocols.messages import StoreStream
from simulation.parts import simulated_parts
from simulation.store import SimulatedEventStore

UNIT = Path(__file__).parents[3] / "docs" / "artifactstore.service"
STALL_GRACE_S = 1.0


async def _takes(seconds: float) -> None:
    """As a thread does: it cannot be interrupted."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


async def test_a_stop_waits_for_a_slow_flush_and_reports_nothing(autojump_clock: trio.testing.MockClock) -> None:
    actors, reports, begun = Actors(), list[Report](), trio.Event()

    async def slow() -> AsyncGenerator[bytes]:
        begun.set()
        await _takes(40)
        yield b"bytes"

    async def store() -> None:
        stored = await actors.storage.ask(StoreStream(slow(), None, {}), timeout=600)
        sizes.append(stored.size_bytes)

    sizes = list[int]()
    async with simulated_parts() as parts, trio.open_nursery() as nursery:
        spec = tree_spec(actors, Settings(), parts.store, parts.plane, ())
        async with open_tree(spec, on_report=reports.append):
            nursery.start_soon(store)
            await begun.wait()
    assert (sizes, reports) == ([5], [])


async def test_a_start_waits_for_every_lock_of_a_set_up(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    actors, reports = Actors(), list[Report]()

    async def slow(_store: SimulatedEventStore) -> None:
        await _takes(3 * LOCK_TIMEOUT_S)

    async with simulated_parts() as parts:
        monkeypatch.setattr(SimulatedEventStore, "open", slow)
        spec = tree_spec(actors, Settings(), parts.store, parts.plane, ())
        async with open_tree(spec, on_report=reports.append):
            pass
    assert reports == []


async def test_the_service_manager_waits_for_longer_than_the_tree(autojump_clock: trio.testing.MockClock) -> None:
    async with simulated_parts() as parts:
        actors = _actors_of(tree_spec(Actors(), Settings(), parts.store, parts.plane, ()))
    text = UNIT.read_text(encoding="utf-8")
    limits = {name: float(value) for name, value in re.findall(r"^Timeout(Start|Stop)Sec=(\d+)$", text, re.MULTILINE)}
    assert limits["Stop"] > sum(actor.shutdown_timeout_s + STALL_GRACE_S for actor in actors)
    assert limits["Start"] > max(actor.start_timeout_s for actor in actors) + STALL_GRACE_S


def _actors_of(spec: SupervisorSpec) -> list[ActorSpec[Any]]:
    found = list[ActorSpec[Any]]()
    for child in spec.children:
        found += _actors_of(child) if isinstance(child, SupervisorSpec) else [child]
    return found
