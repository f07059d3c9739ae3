"""How to test the ProjectionActor alone: it reads a simulated log, and nobody else is there."""

import pytest
import trio
import trio.testing

from artifactstore.ids import new_id, now_us
from artifactstore.projection import ProjectionActor
from artifactstore.testing import open_actor
from artifactstore.testing.scheduling import run_seeded
from artifactstore_protocols.commands import CommandRequest, CreatePackage
from artifactstore_protocols.messages import HeadMoved, OpenTail, Replay
from artifactstore_protocols.retention import DEFAULT_RETENTION
from simulation.parts import Parts, simulated_parts


async def commit(parts: Parts) -> None:
    request = CommandRequest(new_id(), CreatePackage(new_id(), "nightly", DEFAULT_RETENTION, {}), "ci", None)
    await parts.store.commit([request], now_us=now_us, new_id=new_id, files_per_package_max=1)


async def test_a_tail_sees_what_is_there_and_what_comes(autojump_clock: trio.testing.MockClock) -> None:
    async with simulated_parts() as parts, open_actor("projection", lambda: ProjectionActor(parts.store)) as harness:
        await commit(parts)
        stream = await harness.ref.ask(OpenTail(0))
        seen = [(await anext(stream)).sequence]
        await commit(parts)
        await harness.ref.tell(HeadMoved(2))
        seen.append((await anext(stream)).sequence)
        assert seen == [1, 2]
        assert harness.snapshot.tasks == ("tail-1", "watch-1")
        stream.close()
        await trio.testing.wait_all_tasks_blocked()
        left = harness.snapshot.tasks
        assert not left


async def test_a_tail_finds_what_nobody_announced_in_a_while(autojump_clock: trio.testing.MockClock) -> None:
    async with simulated_parts() as parts, open_actor("projection", lambda: ProjectionActor(parts.store)) as harness:
        stream = await harness.ref.ask(OpenTail(0))
        await commit(parts)
        began = trio.current_time()
        assert (await anext(stream)).sequence == 1
        assert trio.current_time() - began < 1
        stream.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_tail_may_begin_in_the_moment_in_which_the_last_one_ends(seed: int) -> None:
    async def main() -> None:
        async with (
            simulated_parts() as parts,
            open_actor("projection", lambda: ProjectionActor(parts.store)) as harness,
        ):
            await commit(parts)
            first, second = [await harness.ref.ask(OpenTail(0)) for _ in range(2)]
            assert (await anext(first)).sequence == 1
            await trio.testing.wait_all_tasks_blocked()
            first.close()
            assert (await anext(second)).sequence == 1
            second.close()

    run_seeded(seed, main)


async def test_a_replay_is_done_although_its_asker_has_left(autojump_clock: trio.testing.MockClock) -> None:
    async with simulated_parts() as parts, open_actor("projection", lambda: ProjectionActor(parts.store)) as harness:
        with harness.held(), trio.move_on_after(1):
            await harness.ref.ask(Replay(rebuild=False))
        await trio.testing.wait_all_tasks_blocked()
        assert (await harness.ref.ask(Replay(rebuild=False))).identical
