"""What only a database can refuse of another log's events."""

import pytest

from artifactstore.database.database import Database, Refused
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.events import StoredEvent
from command_strategies import Ids
from database_tools import event, whole_log


async def test_an_event_id_that_comes_twice_takes_the_whole_run_back(database: Database, store: SqlEventStore) -> None:
    ids = Ids()
    healed = b"\xa2jbackend_idelocalocontent_addressfblake3"
    run = [StoredEvent(n, event(ids(), event_type="v1.object.healed", payload=healed)) for n in range(1, 4)]
    with pytest.raises(Refused):
        await store.import_events([*run, StoredEvent(4, run[0].event)], source="elsewhere")
    assert await whole_log(database) == ()
    assert await store.import_events(run, source="elsewhere") == 3
