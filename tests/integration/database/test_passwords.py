"""A password in the database's URL comes out nowhere: not in an error or its traceback, a log, health, or a repr."""

import logging
import re
import traceback
from pathlib import Path

import pytest

from artifactstore import Settings, open_registry
from artifactstore.database import events
from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols.errors import InvalidValue
from database_tools import opened
from postgres_proxy import proxied
from postgres_server import PostgresServer

PASSWORD = "gehei%6D-p%40ss"  # noqa: S105 - one to look for; as a URL writes it
PLAIN = "geheim-p@ss"


def forms(said: list[str]) -> list[str]:
    """What of it can be read, as the URL has it or as it is."""
    return [each for each in said if re.search("gehei", each)]


def of(error: BaseException) -> list[str]:
    """All that an error says, itself and by what it came from."""
    said = ["".join(traceback.format_exception(error))]
    link: BaseException | None = error
    while link is not None:
        said += [str(link), repr(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return said


@pytest.mark.slow
async def test_a_store_that_loses_its_server_says_nothing_of_it(
    postgres_server: PostgresServer,
    postgres_location: DatabaseLocation,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        async with proxied(postgres_server.socket_directory) as proxy:
            url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{proxy.port}/{postgres_location.url.database}"
            settings = Settings(url, tmp_path / "objects")
            assert forms([url]), "it would be found"
            said.append(repr(settings))
            async with open_registry(settings) as registry:
                await registry.create_package("nightly")
                said += [repr(await registry.health(max_age_s=0)), repr(registry.snapshot())]
                await proxy.close()
                for attempt in (registry.create_package("x"), registry.read_events(), registry.replay()):
                    with pytest.raises(Exception, match="not available") as caught:
                        await attempt
                    said += of(caught.value)
                said += [repr(await registry.health(max_age_s=0)), repr(registry.snapshot())]
                await proxy.recover()
                assert (await registry.health(max_age_s=0)).healthy
    said += [f"{record.getMessage()} {record.args} {record.exc_text} {vars(record)}" for record in caplog.records]
    assert caplog.records
    assert any("127.0.0.1" in each for each in said), "where it is may be said"
    assert not forms(said)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["password", "role", "database", "port"])
async def test_a_store_that_cannot_be_opened_says_nothing_of_it(
    postgres_server: PostgresServer, postgres_location: DatabaseLocation, wrong: str
) -> None:
    async with proxied(postgres_server.socket_directory) as proxy:
        user = "nobody" if wrong == "role" else "postgres"
        name = "nowhere" if wrong == "database" else postgres_location.url.database
        if wrong == "port":
            await proxy.close()
        location = DatabaseLocation.parse(f"postgresql://{user}:{PASSWORD}@127.0.0.1:{proxy.port}/{name}")
        database = Database(location)
        if wrong == "password":  # the server trusts everybody, so it is taken
            async with opened(location) as database:
                said = [repr(database), str(await database.read(events.head))]
        else:
            with pytest.raises(Exception, match="not available") as caught:
                await database.open()
            said = of(caught.value)
        assert location.url.password == PLAIN
        assert not forms([*said, repr(location), str(location), location.name, repr(vars(database)), str(location.url)])


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{PASSWORD}@h/d",
        f"postgresql://u:{PASSWORD}@h:none/d",
        f"postgresql://u:{PASSWORD}@h",
        f"postgresql://u:{PASSWORD}@h/d?password={PASSWORD}",
        f"{PASSWORD}",
        f"sqlite://u:{PASSWORD}@h/d",
        "postgresql://u:geheim@p4ss@127.0.0.1:1/d",
        "postgresql://u:p4ss@geheim@127.0.0.1:1/d",
        "postgresql://u:p@geheim/x@h/d",
        "postgresql://u:p@h/geheim@h/d",
        "postgresql://u:p@geheim/x?y@h/d",
        "postgresql://u:p@h/x?geheim=y@h/d",
        "postgresql://geheim/x@h/d",
    ],
)
def test_a_url_that_is_refused_is_not_repeated(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        DatabaseLocation.parse(url)
    assert not forms([*of(caught.value)])
