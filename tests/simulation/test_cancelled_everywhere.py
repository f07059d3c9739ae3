"""A caller that leaves at any step of an ingest whatsoever: each step of the scheduler in turn, one run a step.

Everything is real but the database, the disk and the threads, which are simulated, so that a run has one order and its
steps can be counted. After each: the whole effect or none, and no temp file, open file, message, handler or task.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, override

import pytest
import trio
from trio.abc import Instrument

from artifactstore import Registry, Settings
from artifactstore.supervision import Tree, open_tree
from artifactstore.testing.scheduling import run_seeded
from artifactstore.tree import Actors, tree_spec
from artifactstore_protocols.supervision import ActorSnapshot
from integration.registry.samples import plant, stream_of
from simulation.parts import Parts, simulated_parts
from simulation.posix import OBJECTS, SCRATCH

FILES: Final = {"a": b"first", "sub/b": b"second", "sub/c": b"third" * 500}
STEPS_MAX: Final = 3000
SEED: Final = 7
QUIET_AFTER_S: Final = 5.0
"""Virtual seconds, many more than anything takes that is still to be completed when its caller has left."""

type Call = Callable[[Registry, str], Awaitable[object]]


class LeaveAt(Instrument):
    """Cancels a scope just before a step of the scheduler, counted from when it was made; any task's step counts."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step

    @override
    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel(reason="the caller leaves")


def _busy(tree: Tree) -> list[ActorSnapshot]:
    actors = [entry for entry in tree.snapshot().walk() if isinstance(entry, ActorSnapshot)]
    return [
        actor for actor in actors if actor.work or actor.tasks or actor.mailbox.depth or actor.mailbox.senders_waiting
    ]


async def _leave(step: int, call: Call) -> bool:
    """Make the call and leave it at a step; whether it was over by then."""
    async with simulated_parts(seed=SEED) as parts:
        actors = Actors()
        spec = tree_spec(actors, Settings(), parts.store, parts.plane, ())
        async with open_tree(spec, seed=SEED) as tree:
            registry = Registry(actors, parts.store, tree, trio.Event())
            package = (await registry.create_package("p")).package_id
            with trio.CancelScope() as scope:
                instrument = LeaveAt(scope, step)
                trio.lowlevel.add_instrument(instrument)
                try:
                    await call(registry, package)
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            await trio.sleep(QUIET_AFTER_S)
            assert _busy(tree) == []
            temporary = [path for path, _ in parts.posix.disk.files(f"{OBJECTS}/{SCRATCH}")]
            assert [path for path in temporary if not path.endswith(".lock")] == []
            await _check_whole_or_none(registry, parts, package)
            assert all(actor.starts == 1 for actor in tree.snapshot().walk())
    assert parts.posix.open_files() == 0
    return not scope.cancelled_caught


async def _check_whole_or_none(registry: Registry, parts: Parts, package: str) -> None:
    log = parts.log.events
    assert [stored.sequence for stored in log] == list(range(1, len(log) + 1))
    for record in [each async for each in registry.list_packages()]:
        listed = {file.path: file.content_address for file in await registry.list_files(record.package_id)}
        assert listed.keys() in ({*()}, {"f"}, FILES.keys()), "a file, a directory, or nothing of it"
        for path in listed:
            async with registry.get_file(record.package_id, path) as chunks:
                content = b"".join([chunk async for chunk in chunks])
            assert content == {"f": FILES["sub/c"], **FILES}[path]
        if record.status == "finalized":
            assert listed.keys() == FILES.keys()
        else:
            assert record.package_id == package or listed.keys() in ({*()}, FILES.keys())
    assert (await registry.replay(check=True)).identical


def _calls(tree: Path) -> dict[str, Call]:
    return {
        "a stream": lambda registry, package: registry.ingest_file(
            package, "f", stream_of(FILES["sub/c"][:9], FILES["sub/c"][9:])
        ),
        "a local file": lambda registry, package: registry.ingest_file(package, "f", tree / "sub/c"),
        "a directory": lambda registry, package: registry.ingest_directory(package, tree),
        "a tree, created and finalized": lambda registry, _package: registry.ingest_tree(tree),
    }


@pytest.mark.slow
@pytest.mark.parametrize("what", ["a stream", "a local file", "a directory", "a tree, created and finalized"])
def test_a_caller_may_leave_at_any_step(what: str, tmp_path: Path) -> None:
    call = _calls(plant(tmp_path / "tree", FILES))[what]
    for step in range(1, STEPS_MAX):
        if run_seeded(SEED, partial(_leave, step, call)):
            assert step > 20, "it takes many steps"
            return
    pytest.fail("it never came to its end")
