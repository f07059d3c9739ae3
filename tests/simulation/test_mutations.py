"""What the simulation can see: each defect, put into the code on purpose, is found within a stated number of seeds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from artifactstore.backends.durability import BatchSync
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.projection import ProjectionActor
from artifactstore.supervision.handlers import Handler
from artifactstore.supervision.mailbox import Mailbox
from artifactstore_protocols import judging
from artifactstore_protocols.commands import Command, CommandRequest, FinalizePackage
from artifactstore_protocols.event_store import CommandOutcome
from artifactstore_protocols.event_types import Payload
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.judging import decide
from artifactstore_protocols.messages import OpenTail, Stream
from artifactstore_protocols.state import LogState
from artifactstore_protocols.supervision import Message
from artifactstore_protocols.views import RowOperation
from simulation.log import SimulatedLog
from simulation.run import simulate
from simulation.simulate import plan_of
from simulation.store import SimulatedEventStore
from simulation.storms import storm_of
from simulation.workload import Client, CreatePackage, Finalize, IngestFile, LookAround, Workload

type Patch = pytest.MonkeyPatch


def do_nothing(*_: object) -> None:
    """What stands in for a step that was forgotten."""


def skip_the_head_lock(patch: Patch) -> None:
    async def lock_nothing(_: SimulatedLog) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(SimulatedLog, "lock_head", lock_nothing)
    patch.setattr(SimulatedLog, "release_head", do_nothing)


def acknowledge_before_the_commit(patch: Patch) -> None:
    append = SimulatedLog.append

    def promise(log: SimulatedLog, events: Sequence[StoredEvent], operations: Iterable[RowOperation]) -> None:
        async def keep() -> None:
            await trio.sleep(0.05)
            append(log, events, operations)

        log.nursery.start_soon(keep)

    patch.setattr(SimulatedLog, "append", promise)


def drop_an_envelope_at_a_restart(patch: Patch) -> None:
    reopen = Mailbox.open

    def open_and_drop(mailbox: Mailbox, handlers: Mapping[type[Message[Any]], Handler]) -> None:
        reopen(mailbox, handlers)
        for lane in mailbox.lanes():
            lane.take_nowait()

    patch.setattr(Mailbox, "open", open_and_drop)


def reuse_a_sequence(patch: Patch) -> None:
    def head(log: SimulatedLog) -> int:
        return len(log.events) - (len(log.events) % 5 == 4)

    patch.setattr(SimulatedLog, "head", head)


def forget_the_directory_sync(patch: Patch) -> None:
    patch.setattr(BatchSync, "flush_directories", do_nothing)


def forget_the_content_sync(patch: Patch) -> None:
    patch.setattr(BatchSync, "flush_contents", do_nothing)


def take_a_lost_acknowledgement_for_a_refusal(patch: Patch) -> None:
    commit = SimulatedEventStore.commit

    async def refuse(
        store: SimulatedEventStore,
        requests: Sequence[CommandRequest],
        *,
        now_us: Callable[[], int],
        new_id: Callable[[], str],
        files_per_package_max: int,
    ) -> Sequence[CommandOutcome]:
        try:
            return await commit(
                store, requests, now_us=now_us, new_id=new_id, files_per_package_max=files_per_package_max
            )
        except OutcomeUnknown as unknown:
            raise DatabaseUnavailable(unknown.database, unknown.reason) from unknown

    patch.setattr(SimulatedEventStore, "commit", refuse)


def forget_who_asked_before(patch: Patch) -> None:
    known = SimulatedLog.known

    def know_ids_only(log: SimulatedLog, requests: Sequence[CommandRequest]) -> list[StoredEvent]:
        return known(log, [replace(request, idempotency_key=None) for request in requests])

    patch.setattr(SimulatedLog, "known", know_ids_only)


def skip_an_event_where_a_tail_resumes(patch: Patch) -> None:
    open_tail = ProjectionActor.open_tail

    async def resume(projection: ProjectionActor, message: OpenTail) -> Stream[StoredEvent]:
        return await open_tail(projection, replace(message, since=message.since + (message.since > 0)))

    patch.setattr(ProjectionActor, "open_tail", resume)


def finalize_without_looking_at_the_version(patch: Patch) -> None:
    def overlook(command: Command, state: LogState, *, entries_max: int) -> tuple[Payload, ...]:
        if isinstance(command, FinalizePackage) and (package := state.packages.get(command.package_id)):
            command = replace(command, expected_version=package.version)
        return decide(command, state, entries_max=entries_max)

    patch.setattr(judging, "decide", overlook)


SEEDS: dict[Callable[[Patch], None], int] = {
    skip_the_head_lock: 10,
    acknowledge_before_the_commit: 5,
    drop_an_envelope_at_a_restart: 20,
    reuse_a_sequence: 5,
    forget_the_directory_sync: 5,
    forget_the_content_sync: 10,
    take_a_lost_acknowledgement_for_a_refusal: 20,
    forget_who_asked_before: 5,
    skip_an_event_where_a_tail_resumes: 10,
}

FINALIZING_SEEDS = 10


@pytest.mark.slow
@pytest.mark.parametrize(("defect", "seeds"), [pytest.param(*each, id=each[0].__name__) for each in SEEDS.items()])
def test_a_defect_is_found(defect: Callable[[Patch], None], seeds: int, monkeypatch: Patch) -> None:
    defect(monkeypatch)
    for plan in (each(seed) for seed in range(seeds) for each in (plan_of, storm_of)):
        if simulate(plan.seed, plan.workload, plan.faults).violations:
            return
    pytest.fail(f"not found in {seeds} seeds")


def test_a_finalize_that_overlooks_a_change_is_found_where_another_process_fills_the_package(
    monkeypatch: Patch,
) -> None:
    finalize_without_looking_at_the_version(monkeypatch)
    places = ((0, 1), (1, 2), (0, 3), (1, 4), (0, 5))
    puts = [IngestFile(0, path, content, 1, breaks_after=9, replace=True, keyed=False) for path, content in places]
    fill = Client(0, together=False, operations=(CreatePackage(0, keyed=False), *puts))
    finalize = Client(1, together=False, operations=(LookAround(), Finalize(0)))
    assert any(simulate(seed, Workload((fill, finalize))).violations for seed in range(FINALIZING_SEEDS))
