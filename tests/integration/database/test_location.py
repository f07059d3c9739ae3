"""Database URLs: what they may say, what is made of them, and that no password ever shows."""

import re
from pathlib import Path

import pytest

from artifactstore.database.location import DatabaseLocation
from artifactstore_protocols.errors import InvalidValue


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
def test_a_file_becomes_absolute(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location = DatabaseLocation.parse(f"{scheme}:///var/a b#1%25.db")
    assert location.is_sqlite
    assert location.path == tmp_path / "var" / "a b#1%.db"
    assert location.name == str(location.path)
    assert (location.url.drivername, location.url.database) == ("sqlite+aiosqlite", str(location.path))
    assert repr(location) == f"DatabaseLocation({location.name!r})", "no URL, which may hold a password"
    assert DatabaseLocation.parse(f"{scheme}:////srv/store.db").path == Path("/srv/store.db")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
@pytest.mark.parametrize(
    ("rest", "name", "query"),
    [
        ("//ada:geheim@db.example.org:6543/store", "db.example.org:6543/store", {}),
        ("//db.example.org/store", "db.example.org/store", {}),
        ("///store?host=/run/postgresql", "local/store", {"host": "/run/postgresql"}),
        ("//ada@/store?host=/run/postgresql&port=1", "local/store", {"host": "/run/postgresql", "port": "1"}),
        ("//db/store?sslmode=require", "db/store", {"ssl": "require"}),
        ("//db/store?ssl=require", "db/store", {"ssl": "require"}),
    ],
)
def test_a_server_is_named_by_host_and_database(scheme: str, rest: str, name: str, query: dict[str, str]) -> None:
    location = DatabaseLocation.parse(f"{scheme}:{rest}")
    assert not location.is_sqlite
    assert location.path is None
    assert location.name == name
    assert location.url.drivername == "postgresql+asyncpg"
    assert location.url.query == query


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "write sqlite:///FILE"),
        ("geheim", "write sqlite:///FILE"),
        ("postgresql://ada:geheim@db:port/store", "write sqlite:///FILE"),
        ("mysql://ada:geheim@db/store", "use sqlite:///FILE"),
        ("postgresql+psycopg://ada:geheim@db/store", "use sqlite:///FILE"),
        ("sqlite://", "name a file"),
        ("sqlite:///", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///file:geheim?mode=memory", "name a file"),
        ("sqlite://var/store.db", "write three slashes"),
        ("sqlite://ada:geheim@/store.db", "write three slashes"),
        ("sqlite:///store.db?mode=memory&uri=true", "write a ? in its name as %3F"),
        ("sqlite:///a?geheim", "write a ? in its name as %3F"),
        ("sqlite:///100%geheim.db", "write a % in a file's name as %25"),
        ("sqlite:///geheim/", "it names a directory"),
        ("sqlite:///geheim/..", "it names a directory"),
        ("sqlite:///a%00geheim", "there is a control character"),
        ("sqlite:///a%FFgeheim", "not valid UTF-8"),
        ("sqlite:///geheim\r", "the control character U+000D"),
        (" sqlite:///geheim", "there is white space before or after it"),
        ("sqlite:///geheim\udcff", "not valid UTF-8"),
        (f"sqlite:///{'x' * 5000}", "it is longer than 4096 characters"),
        ("sqlite:geheim.db", "write three slashes"),
        ("sqlite:/geheim.db", "write three slashes"),
        ("sqlite:////", "name a file"),
        ("sqlite:////~/geheim.db", "write three slashes, not four"),
        ("sqlite:///~nobody-of-that-name/geheim.db", "there is no such home directory"),
        ("sqlite:///$HOME/geheim.db", "variables are not expanded here"),
        ("SQLITE:///geheim.db", "use sqlite:///FILE"),
        ("postgresql://ada:geheim@db/store\n", "the control character U+000A"),
        ("postgresql://db/store?geheim", "write an option as KEY=VALUE"),
        ("postgresql://ada:geheim@db:65536/store", "a port is a number from 1 to 65535"),
        ("postgresql:///store?port=+5", "a port is a number from 1 to 65535"),
        ("postgresql://ada:geheim@db", "name the database"),
        ("postgresql://ada:geheim@db/", "name the database"),
        ("postgresql://ada:p4ss@geheim@db/store", "write an @ in a user, a password or an option as %40"),
        ("postgresql://db/store?password=geheim", "the options it takes are host, port, ssl"),
        ("postgresql://db/store?application_name=x&ssl=require", "the options it takes are host, port, ssl"),
    ],
)
def test_what_nobody_could_use_is_refused_without_being_repeated(url: str, advice: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(advice)) as caught:
        DatabaseLocation.parse(url)
    assert "geheim" not in f"{caught.value} {caught.value!r}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_password_does_not_show() -> None:
    location = DatabaseLocation.parse("postgresql://ada:geheim@db/store")
    assert location.url.password == "geheim"  # noqa: S105
    assert "geheim" not in f"{location} {location!r} {location.name} {location.url} {location.url!r}"


def test_a_file_below_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "100%25"))
    monkeypatch.chdir(tmp_path)
    assert DatabaseLocation.parse("sqlite:///~/a%20b.db").path == tmp_path / "100%25" / "a b.db"
    assert DatabaseLocation.parse("sqlite:///%7E/log.db").path == tmp_path / "~" / "log.db", "if it is called so"
    assert DatabaseLocation.parse("sqlite:///./~/log.db").path == tmp_path / "~" / "log.db"
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(InvalidValue, match="HOME is not an absolute path"):
        DatabaseLocation.parse("sqlite:///~/log.db")
