"""The log knows itself: event 1 of every log is `v1.log.created`, and no other event is."""

from collections.abc import Callable, Sequence

import pytest
import trio
from msgspec.structs import replace

from artifactstore_protocols.event_store import EventStore
from artifactstore_protocols.event_types import LOG_CREATED, PACKAGE_CREATED, LogCreated
from artifactstore_protocols.events import Committed, EventRefused, StoredEvent
from artifactstore_protocols.packages import PackageNotFound
from command_strategies import Ids, created, ingest, ingested
from database_tools import ACTOR, EPOCH_US, Scribe
from event_stores import SimulatedStores, log_of, run_of


@pytest.fixture
async def log(nursery: trio.Nursery) -> Sequence[StoredEvent]:
    """A log of another store: it begins, and two packages are opened."""
    async with SimulatedStores(nursery).opened() as elsewhere:
        await Scribe(elsewhere).tell(created(1), created(2))
        return await log_of(elsewhere)


async def test_the_first_command_that_writes_begins_the_log(store: EventStore, scribe: Scribe) -> None:
    request = scribe.ask(created(), key="once")
    [outcome] = await scribe.send(request)
    await scribe.tell(created(2))
    begun, first, second = await log_of(store)
    assert (begun.event.type, first.event.type, second.event.type) == (LOG_CREATED.name, *[PACKAGE_CREATED.name] * 2)
    assert isinstance(outcome, Committed)
    assert outcome.events == (first,), "it is no answer to the command"
    payload = begun.decode()
    assert isinstance(payload, LogCreated)
    assert begun.event.subject == payload.log_id
    assert (begun.event.principal, begun.event.recorded_at_us) == (ACTOR, EPOCH_US + 1)
    stamp = begun.event.command
    assert (stamp.digest, stamp.idempotency_key) == (None, None)
    assert stamp.command_id not in {request.command_id, payload.log_id}
    assert (await store.replay(rebuild=False)).identical


async def test_what_is_refused_begins_no_log(store: EventStore, scribe: Scribe) -> None:
    [refused] = await scribe.send(scribe.ask(ingest(ingested("a"))))
    assert isinstance(refused, PackageNotFound)
    assert await log_of(store) == ()
    [refused, outcome] = await scribe.send(scribe.ask(ingest(ingested("a"))), scribe.ask(created()))
    assert isinstance(refused, PackageNotFound)
    assert isinstance(outcome, Committed)
    assert outcome.sequence == 2
    assert [stored.event.type for stored in await log_of(store)] == [LOG_CREATED.name, PACKAGE_CREATED.name]


async def test_a_log_that_is_taken_over_keeps_its_id(
    store: EventStore, scribe: Scribe, log: Sequence[StoredEvent]
) -> None:
    await store.import_events(log, run_of(log))
    await scribe.send(scribe.ask(created(9), command_id=Ids(500)()))
    assert [stored.event for stored in await log_of(store) if stored.event.type == LOG_CREATED.name] == [log[0].event]


def _without_a_beginning(log: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    return [StoredEvent(number, stored.event) for number, stored in enumerate(log[1:], 1)]


def _with_a_second_beginning(log: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
    ids = Ids(700)
    other = LogCreated(ids())
    again = replace(log[0].event, event_id=ids(), subject=other.log_id, payload=LOG_CREATED.codec.encode(other))
    again = replace(again, command=replace(again.command, command_id=ids()))
    return [*log, StoredEvent(len(log) + 1, again)]


@pytest.mark.parametrize(("change", "at"), [(_without_a_beginning, 1), (_with_a_second_beginning, 4)])
async def test_a_log_that_does_not_begin_exactly_once_is_refused(
    store: EventStore,
    log: Sequence[StoredEvent],
    change: Callable[[Sequence[StoredEvent]], Sequence[StoredEvent]],
    at: int,
) -> None:
    changed = change(log)
    with pytest.raises(EventRefused, match=r"event 1 of a log is v1\.log\.created, and no other event is") as refused:
        await store.import_events(tuple(changed), run_of(changed))
    assert (refused.value.code, refused.value.sequence) == ("event-refused", at)
    assert await log_of(store) == ()
