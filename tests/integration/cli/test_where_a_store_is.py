"""Where a store is: what names it, which of two names wins, and that reading creates nothing where there is none."""

import asyncio
import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from artifactstore import Settings, aio, blocking, open_registry
from artifactstore.database.location import DatabaseLocation
from artifactstore.errors import StoreNotFound
from integration.cli.harness import Cli, make_tree

READING = {
    "get": ("get", "p", "README.md"),
    "manifest": ("manifest", "p"),
    "export": ("export", "p", "out"),
    "add": ("package", "add", "p", "tree"),
    "finalize": ("package", "finalize", "p"),
    "list": ("package", "list"),
    "show": ("package", "show", "p"),
    "verify": ("verify",),
    "replay": ("replay",),
    "replay --check": ("replay", "--check"),
    "events": ("events",),
    "events --follow": ("events", "--follow"),
    "events --export": ("events", "--export", "log.cborseq"),
    "history": ("history",),
    "backup": ("backup", "kept"),
    "health": ("health",),
    "actors": ("actors",),
}
CREATING = {
    "ingest": ("ingest", "tree"),
    "package create": ("package", "create", "p"),
    "migrate": ("migrate",),
    "restore": ("restore", "kept"),
    "events --import": ("events", "--import", "log.cborseq"),
}


@pytest.fixture
def unnamed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A command line whose environment names no store."""
    monkeypatch.delenv("ARTIFACTSTORE_DATABASE_URL")
    monkeypatch.delenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT")
    return cli


def everything_below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


@pytest.mark.parametrize("command", READING.values(), ids=READING.keys())
def test_a_command_that_reads_says_that_there_is_no_store_and_creates_nothing(
    unnamed: Cli, tree: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    before = everything_below(tmp_path)
    assert unnamed.refused(*command) == (
        f"there is no store at {tmp_path}/var/artifactstore.db: there is no such file, or it is empty. Name a store "
        "with --store DIR, ARTIFACTSTORE_DATABASE_URL or artifactstore.toml, or create one with "
        "`artifactstore ingest` or `artifactstore migrate`"
    )
    assert everything_below(tmp_path) == before


def test_the_doctor_says_that_there_is_no_store_and_creates_nothing(unnamed: Cli, tmp_path: Path) -> None:
    ran = unnamed.run("doctor")
    assert f"store: there is no store at {tmp_path}/var/artifactstore.db\n" in ran.text
    assert ran.code == 1
    assert everything_below(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", CREATING.values(), ids=CREATING.keys())
def test_the_other_commands_create_the_store(unnamed: Cli, tree: Path, command: tuple[str, ...]) -> None:
    unnamed.ok("--store", "source", "ingest", "tree")
    unnamed.ok("--store", "source", "backup", "kept")
    unnamed.ok("--store", "source", "events", "--export", "log.cborseq")
    unnamed.ok(*command, "--store", "new")
    assert Path("new/artifactstore.db").is_file()
    assert unnamed.run("package", "list", "--store", "new").code == 0


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("ingest", "nowhere"), "No such file"),
        (("ingest", "pipe"), "it is neither a file nor a directory"),
        (("ingest", "file", "nowhere", "--name", "n"), "'nowhere' cannot be ingested: No such file"),
        (("ingest", "tree", "--prefix", "a//b"), "it has an empty part"),
        (("ingest", "tree", "--name", "n", "--prefix", "../b"), "part '..' is not allowed"),
        (("restore", "nowhere"), "there is no artifactstore-backup in it"),
        (("restore", "file"), "cannot use 'file' as a backup"),
        (("events", "--import", "nowhere"), "cannot be read: no such file or directory; check its path"),
        (("events", "--import", "pipe"), "no regular file"),
        (("events", "--import", "file"), "cannot be used: "),
        (("events", "--import", "tree/README.md"), "name a whole log file"),
        (("package", "create", " p"), "invalid package name"),
        (("package", "create", "p", "--retention", "for good"), "unknown retention class"),
        (("package", "create", "p", "--idempotency-key", ""), "invalid idempotency key"),
        (("ingest", "tree", "--name", " "), "invalid package name"),
        (("ingest", "tree", "--retention", "for good"), "unknown retention class"),
        (("ingest", "tree", "--meta", f"k={'x' * 5000}"), "invalid metadata value"),
        (("serve", "--bind", "192.0.2.1:0"), "will not listen on"),
        (("serve", "--bind", "127.0.0.1:0", "--certfile", "file", "--keyfile", "file"), "file"),
        (("serve", "--bind", "unix:file"), "something else lies there"),
    ],
)
def test_what_is_refused_leaves_no_store_behind(
    unnamed: Cli, tmp_path: Path, command: tuple[str, ...], reason: str
) -> None:
    Path("file").touch()
    os.mkfifo("pipe")
    make_tree(tmp_path / "tree", {"README.md": b"read me"})
    before = everything_below(tmp_path)
    assert reason in unnamed.refused(*command)
    assert everything_below(tmp_path) == before


def test_a_database_that_is_no_store_is_left_as_it_is(unnamed: Cli, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    database = tmp_path / "other" / "artifactstore.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE somebody_elses (x)")
    content, before = database.read_bytes(), everything_below(tmp_path)
    assert "that database has no artifactstore tables" in unnamed.refused("verify", "--store", "other")
    assert (database.read_bytes(), everything_below(tmp_path)) == (content, before)
    database.write_bytes(b"")
    assert "there is no such file, or it is empty" in unnamed.refused("verify", "--store", "other")
    assert (database.read_bytes(), everything_below(tmp_path)) == (b"", before)


def test_reading_makes_no_object_root_either(unnamed: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed.ok("migrate", "--store", "new")
    Path("new/objects").rmdir()
    before = everything_below(tmp_path)
    unnamed.ok("verify", "--store", "new")
    assert not Path("new/objects").exists()
    assert {path for path in everything_below(tmp_path) if path.suffix not in {".db-wal", ".db-shm"}} == set(before)


def test_reading_creates_no_schema_on_a_server(
    unnamed: Cli, postgres_location: DatabaseLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_location.url.render_as_string(hide_password=False).replace("+asyncpg", "")
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", url)
    for _ in range(2):
        line = unnamed.refused("verify")
        assert line.startswith(f"there is no store at {postgres_location.name}: that database has no artifactstore ta")
    unnamed.ok("package", "create", "p")
    unnamed.ok("package", "list")


def test_store_is_taken_before_and_after_the_command_and_before_the_environment(
    cli: Cli, tree: Path, tmp_path: Path
) -> None:
    cli.ok("--store", "first", "ingest", "tree")
    cli.ok("package", "--store", "second", "create", "p")
    assert len(cli.json_lines("--store=first", "package", "list")) == 1
    assert [each["name"] for each in cli.json_lines("package", "list", "--store", "second")] == ["p"]
    nearest = cli.json_lines("--store", "first", "package", "--store", "nowhere", "list", "--store", "second")
    assert [each["name"] for each in nearest] == ["p"]
    assert not cli.database.exists()
    assert Path("first/objects/small").is_dir()
    assert str(cli.database) in cli.refused("verify"), "nothing of it stays for the next command"


def test_a_tilde_in_the_environment_and_in_the_option(
    cli: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", "sqlite:///~/log.db")
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", "~/objects")
    cli.ok("ingest", "tree")
    cli.ok("--store=~/other", "ingest", "tree")
    assert not Path("~").exists()
    assert {path.name for path in (tmp_path / "home").iterdir()} >= {"log.db", "objects", "other"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a?b", "a#b", "a%b", "a%20b", "a b", "ä&=+"])
def test_a_store_of_any_name_is_in_its_directory(unnamed: Cli, tmp_path: Path, name: str) -> None:
    unnamed.ok("--store", name, "package", "create", "p")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(unnamed.json_lines("--store", name, "package", "list")) == 1


def test_a_project_file_names_the_store_for_everything_below_it(
    unnamed: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "artifactstore.toml"
    file.write_text('database_url = "sqlite:///s/log.db"\nstorage_local_root = "s/objects"\n')
    monkeypatch.chdir(tree / "bin")
    unnamed.ok("ingest", tree)
    assert not list(tree.rglob("*.db"))
    monkeypatch.chdir(tmp_path)
    assert unnamed.json("verify")["objects"] == 4
    assert unnamed.json("doctor")["settings"] == {
        "database_url": {"value": f"{tmp_path}/s/log.db", "origin": str(file)},
        "storage_local_root": {"value": f"{tmp_path}/s/objects", "origin": str(file)},
        "log_level": {"value": "WARNING", "origin": "default"},
        "package_files_max": {"value": 100000, "origin": "default"},
        "storage_small_max": {"value": 65536, "origin": "default"},
        "expire_hours": {"value": 0, "origin": "default"},
        "gc_hours": {"value": 0, "origin": "default"},
        "verify_hours": {"value": 0, "origin": "default"},
        "upload_max_mib": {"value": 102400, "origin": "default"},
        "upload_reserve_mib": {"value": 256, "origin": "default"},
        "anonymous_read": {"value": False, "origin": "default"},
        "trusted_proxies": {"value": "", "origin": "default"},
        "public_url": {"value": "", "origin": "default"},
    }
    file.write_text("database_uri = 'x'")
    assert "did you mean database_url?" in unnamed.refused("verify")


def test_mistaken_variables_are_refused_and_unknown_ones_are_warned_of(
    unnamed: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_COLOUR", "x")
    ran = unnamed.run("package", "create", "p")
    assert ran.code == 0
    assert "ARTIFACTSTORE_COLOUR is set, and there is no such setting" in ran.err
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URI", "sqlite:///elsewhere.db")
    assert "did you mean ARTIFACTSTORE_DATABASE_URL?" in unnamed.refused("ingest", ".")
    findings = unnamed.run("doctor", "--json").json["findings"]
    assert [(finding["check"], finding["problem"].split()[0]) for finding in findings] == [
        ("unknown settings", "ARTIFACTSTORE_DATABASE_URI"),
        ("unknown settings", "ARTIFACTSTORE_COLOUR"),
    ]


def test_a_current_directory_that_was_deleted(
    unnamed: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for command in (("verify",), ("package", "create", "p"), ("--store", "s", "migrate")):
        assert "it is relative, and the current directory was deleted" in unnamed.refused(*command)
    assert unnamed.run("doctor").code == 1
    unnamed.ok("--store", tmp_path / "s", "ingest", tree)
    unnamed.ok("--store", tmp_path / "s", "doctor")
    monkeypatch.chdir(tmp_path)  # so that there is one to come back to


def test_a_place_that_may_not_be_looked_at(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system says to others than root."""
    real = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == cli.database:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    for command in (("verify",), ("migrate",)):
        assert cli.refused(*command) == f"database {cli.database} is not available: {cli.database}: Permission denied"


PLACES = {
    "a directory": ("tree", "it is a directory; name a file in it"),
    "below a file": ("tree/README.md/log.db", "tree/README.md cannot be a directory"),
    "a file of another kind": ("tree/README.md", "file is not a database"),
    "a FIFO": ("fifo", "it is no regular file"),
}


@pytest.mark.parametrize(("place", "reason"), PLACES.values(), ids=PLACES.keys())
def test_a_place_where_no_database_can_be_is_refused_and_left_as_it_is(
    unnamed: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch, place: str, reason: str
) -> None:
    os.mkfifo("fifo")
    before = (tree / "README.md").read_bytes()
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", f"sqlite:///{place}")
    for command in (("package", "create", "p"), ("migrate",)):
        assert reason in unnamed.refused(*command)
    assert "there is no store" in unnamed.refused("verify") or reason in unnamed.refused("verify")
    assert (tree / "README.md").read_bytes() == before


def test_a_shell_completes_names_of_the_store_that_the_line_names(
    unnamed: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def completed(*words: str) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setenv("_ARTIFACTSTORE_COMPLETE", "complete_bash")
            patch.setenv("COMP_WORDS", "\n".join(["artifactstore", *words]))
            patch.setenv("COMP_CWORD", str(len(words)))
            ran = unnamed.run()
            assert ran.err == ""
            return ran.text.split()

    assert completed("manifest", "nig") == completed("--store", "s", "manifest", "nig") == []
    assert everything_below(tmp_path) == []
    unnamed.ok("--store", "s", "package", "create", "nightly")
    assert completed("manifest", "nig") == []
    assert completed("--store", "s", "manifest", "nig") == ["nightly"]
    assert completed("manifest", "--store", "s", "nig") == ["nightly"]
    (tmp_path / "artifactstore.toml").write_text("no TOML")
    assert completed("--store", "s", "manifest", "nig") == []


async def test_the_library_creates_a_store_unless_it_is_told_not_to(tmp_path: Path) -> None:
    settings = Settings.load({}, store=str(tmp_path / "s"))
    before = everything_below(tmp_path)
    with pytest.raises(StoreNotFound):
        async with open_registry(settings, create=False):
            pass
    await trio.to_thread.run_sync(in_other_programs, settings)
    assert everything_below(tmp_path) == before
    async with open_registry(settings) as registry:
        await registry.create_package("p")
    async with open_registry(settings, create=False) as registry:
        assert (await registry.get_package("p")).name == "p"


def in_other_programs(settings: Settings) -> None:
    async def under_asyncio() -> None:
        async with aio.open_registry(settings, create=False):
            pass

    with pytest.raises(StoreNotFound):
        asyncio.run(under_asyncio())
    with pytest.raises(StoreNotFound), blocking.open_registry(settings, create=False):
        pass
