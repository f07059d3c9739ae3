"""Queries of rows that no story has: what a second backend, or a hand, puts there."""

import pytest
from sqlalchemy import delete, insert, literal, select

from artifactstore.database.errors import DatabaseDamaged
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.schema import LIVE
from artifactstore.database.store import SqlEventStore
from artifactstore_protocols.views import CONTENTS, LOCATIONS
from command_strategies import Find
from database_tools import Scribe, surgery
from story import tell_story


@pytest.mark.slow
async def test_a_page_of_objects_has_all_those_of_a_content(
    location: DatabaseLocation, store: SqlEventStore, scribe: Scribe
) -> None:
    await tell_story(scribe)
    table = LIVE[LOCATIONS]
    cells = [literal("another") if column.name == "backend_id" else column for column in table.columns]
    await surgery(location, insert(table).from_select(table.columns.keys(), select(*cells)))
    seen, after = list[tuple[str, str]](), ""
    while page := await store.locations(package_id=None, after=after, limit=1):
        assert [at.backend_id for at in page] == ["another", "local"]
        seen += [(at.content_address, at.backend_id) for at in page]
        after = page[-1].content_address
    assert len(seen) == len(set(seen)) > 2


@pytest.mark.slow
async def test_a_flagged_object_whose_content_is_gone_is_damage_and_not_overlooked(
    location: DatabaseLocation, store: SqlEventStore, scribe: Scribe
) -> None:
    memory = await tell_story(scribe)
    await scribe.tell(memory.command(Find(((b"", "damaged"),))))
    assert await store.flagged_objects()
    await surgery(location, delete(LIVE[CONTENTS]))
    with pytest.raises(DatabaseDamaged, match="refers to content"):
        await store.flagged_objects()
