"""Word that the log has grown: of one's own commits and of other processes', at once where the database can say so."""

import pytest
import trio
from sqlalchemy import text

from artifactstore.database import events, listener
from artifactstore.database.database import Database
from artifactstore.database.errors import DatabaseUnavailable
from artifactstore.database.events import Transaction
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from command_strategies import Ids, created
from database_tools import Scribe, by_hand, event, opened, surgery

_NEVER_S = 3600.0

_LISTENERS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
_END_LISTENERS = text(
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)


async def grown(database: Database, after: int) -> int:
    while (head := await database.wait_for_growth(after)) <= after:
        pass
    return head


async def listens(database: Database) -> None:
    """Wait until there is a listener, and it has told of itself."""
    while not await database.read(lambda connection: connection.scalar(_LISTENERS)):
        await database.wait_for_growth(0)


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting call returns at once."""
    monkeypatch.setattr(listener, "_LISTENING_S", 0.01)


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets an entry for each word that a listener hears, and one when it begins."""
    heard: list[str] = []
    tell = listener.Listener._tell  # pyright: ignore[reportPrivateUsage]

    def note(self: listener.Listener) -> None:
        heard.append("word")
        tell(self)

    monkeypatch.setattr(listener.Listener, "_tell", note)
    return heard


@pytest.fixture
def only_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks without having been told."""
    monkeypatch.setattr(listener, "_LISTENING_S", _NEVER_S)


async def test_growth_that_was_is_told_at_once(database: Database, scribe: Scribe) -> None:
    await scribe.tell(created(1), created(2))
    assert await database.wait_for_growth(1) == 3


async def test_no_growth_is_told_too(database: Database, scribe: Scribe, looks_often: None) -> None:
    """The waiting call returns without growth, so that its caller knows that the head was read."""
    await scribe.tell(created())
    for _ in range(2):
        assert await database.wait_for_growth(2) == 2


async def test_what_another_one_writes_is_told(location: DatabaseLocation, only_by_word: None) -> None:
    heads: list[int] = []
    async with opened(location) as database, opened(location) as other:
        writer = Scribe(SqlEventStore(other))

        async def follow() -> None:
            while not heads or heads[-1] < 20:
                heads.append(await grown(database, heads[-1] if heads else 0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for number in range(20):
                await writer.tell(created(number))
    assert heads == sorted(set(heads))


async def test_a_rollback_is_not_told(postgres_location: DatabaseLocation, words: list[str], looks_often: None) -> None:
    async with opened(postgres_location) as database:

        async def fail(transaction: Transaction) -> None:
            await events.write(transaction, event(Ids()()))
            raise DatabaseUnavailable("db", "on purpose")

        await listens(database)
        words.clear()
        with pytest.raises(DatabaseUnavailable, match="on purpose"):
            await database.write(fail)
        await Scribe(SqlEventStore(database)).tell(created())
        while not words:
            await database.wait_for_growth(1)
        assert words == ["word"]


@pytest.mark.slow
async def test_a_listener_that_is_cut_off_comes_back(postgres_location: DatabaseLocation, only_by_word: None) -> None:
    async with opened(postgres_location) as database, opened(postgres_location) as other:
        writer = Scribe(SqlEventStore(other))
        await writer.tell(created(1))
        for number in range(2, 4):
            assert await grown(database, number - 1) == number
            await listens(database)
            await surgery(postgres_location, _END_LISTENERS)
            await writer.tell(created(number))
        assert await grown(database, 3) == 4


async def test_one_connection_listens_for_as_long_as_the_store_is_open(
    postgres_location: DatabaseLocation, looks_often: None
) -> None:
    """And none before somebody asks."""

    async def listeners() -> int:
        return await by_hand(postgres_location, lambda connection: connection.scalar(_LISTENERS)) or 0

    async with opened(postgres_location) as database:
        assert await listeners() == 0
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(listens, database)
        assert await listeners() == 1
    assert await listeners() == 0


@pytest.mark.slow
async def test_stores_that_share_a_database_do_not_wake_each_other(
    postgres_location: DatabaseLocation, words: list[str], looks_often: None
) -> None:
    """Two schemas, two roles: each role finds its own tables, and its channel is named after them."""
    roles = [f"{postgres_location.url.database}_{letter}" for letter in "ab"]
    await surgery(
        postgres_location,
        *(
            text(statement)
            for role in roles
            for statement in (f"CREATE ROLE {role} LOGIN", f"CREATE SCHEMA {role} AUTHORIZATION {role}")
        ),
    )
    ours, theirs = (
        DatabaseLocation.parse(postgres_location.url.set(username=role).render_as_string()) for role in roles
    )
    try:
        async with opened(ours) as database, opened(theirs) as other:
            await listens(database)
            words.clear()
            for store in (other, database):
                await Scribe(SqlEventStore(store)).tell(created())
            while not words:
                await database.wait_for_growth(1)
            assert words == ["word"], "it heard of its own commit, and would have heard of the other one before"
    finally:
        for role in roles:
            await surgery(postgres_location, text(f"DROP OWNED BY {role} CASCADE"), text(f"DROP ROLE {role}"))
