"""What only a database can refuse of another log's events."""

import pytest
from msgspec.structs import replace

from artifactstore.database.database import Database, Refused
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.events import StoredEvent
from database_tools import whole_log
from event_stores import run_of
from long_log import long_log


async def test_an_event_id_that_comes_twice_takes_the_whole_run_back(database: Database, store: SqlEventStore) -> None:
    *run, last = long_log(4)
    twice = StoredEvent(4, replace(last.event, event_id=run[0].event.event_id))
    with pytest.raises(Refused):
        await store.import_events([*run, twice], run_of([*run, twice]))
    assert await whole_log(database) == ()
    assert await store.import_events(run, run_of(run)) == 3
