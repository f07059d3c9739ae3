"""What only a process of its own can show: what it loads, how it ends, and where its words go."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version as distribution_version
from pathlib import Path

import pytest

from artifactstore.version import VERSION
from integration.cli.harness import COMMAND, Cli

HEAVY = "alembic asyncio asyncpg hypercorn quart sqlalchemy trio"
LOADED = """
import sys
from artifactstore.cli.app import run
code = run(sys.argv[2:])
print(*sorted(set(sys.argv[1].split()) & set(sys.modules)))
sys.exit(code)
"""
CHECKOUT = Path(__file__).parents[3]


NOT_FOR_HEALTH = (
    "alembic asyncpg hypercorn prometheus_client quart rich urllib.request "
    "sqlalchemy.dialects.postgresql sqlalchemy.ext sqlalchemy.orm"
)
"""What takes long to load, and what a command does without on a SQLite store whose schema is current."""
OWN_NOT_FOR_HEALTH = " ".join(
    f"artifactstore.{module}"
    for module in (
        *("aio", "history", "blocking", "cli.content", "cli.moving", "cli.packages", "database.listener"),
        *("database.replay", "database.sessions", "database.shadow", "doctor", "http", "package_export"),
        *("portal", "transfer", "verify"),
    )
)
"""The store's own parts that only other commands use."""


def loaded_of(modules: str, *command: str) -> list[str]:
    """Which of the modules a command loads in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", LOADED, modules, *command], capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("command", [["version"], ["--help"], ["package", "add", "--help"]], ids=" ".join)
def test_a_command_that_opens_no_store_loads_none_of_what_a_store_needs(command: list[str]) -> None:
    assert loaded_of(f"{HEAVY} {NOT_FOR_HEALTH}", *command) == []


@pytest.mark.slow
def test_a_command_on_a_current_store_loads_no_migrations_no_orm_and_no_other_database(tmp_path: Path) -> None:
    store = ["--store", str(tmp_path)]
    assert loaded_of("alembic", "migrate", *store) == ["alembic"]
    assert loaded_of(f"trio {NOT_FOR_HEALTH} {OWN_NOT_FOR_HEALTH}", "health", "--json", *store) == ["trio"]


COLLECTIONS = """
import gc, sys
from artifactstore.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
print(sum(each["collections"] for each in gc.get_stats()))
"""
COLLECTIONS_MAX = 20
"""Python's own thresholds make it about 200, most of them while modules are loaded."""


@pytest.mark.slow
def test_a_command_seldom_looks_for_garbage(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COLLECTIONS, "migrate", "--store", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(ran.stdout.splitlines()[-1]) < COLLECTIONS_MAX


VERSION_ALONE = """
import os, sys
sys.path.insert(0, sys.argv.pop(1))
before = set(sys.modules)
from artifactstore.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
print(*sorted(set(sys.modules) - before))
"""


def test_the_version_takes_hardly_more_than_python_itself() -> None:
    """No time is measured: it loads next to nothing. Without `site`, which may load whatever is installed."""
    command = [sys.executable, "-S", "-c", VERSION_ALONE, str(CHECKOUT / "actors"), "version"]
    told, loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told == f"artifactstore {VERSION}"
    own = ["", ".cli", ".cli.streams", ".descriptors", ".version"]
    assert loaded.split() == [*(f"artifactstore{module}" for module in own), "errno"]


@pytest.mark.slow
def test_what_went_well_is_on_stdout_and_what_did_not_on_stderr(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    cli.object_of(cli.json("package", "show", "tree")["file_list"][0]["content_address"]).unlink()
    found = cli.process("verify", "--json")
    assert (found.code, found.err, len(found.json["missing"])) == (3, "", 1)
    refused = cli.process("get", "tree", "nope")
    assert (refused.code, refused.out) == (1, b"")
    assert refused.err.startswith("artifactstore: package ")
    assert refused.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [("version",), ("get", "tree", "large")], ids=["lines", "bytes"])
def test_a_reader_that_leaves_a_pipe_is_no_error_to_talk_about(cli: Cli, tree: Path, command: tuple[str, ...]) -> None:
    (tree / "large").write_bytes(bytes(1 << 20))
    cli.ok("ingest", tree)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        ran = cli.process(*command, stdout=pipe)
    assert (ran.code, ran.err) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_an_answer_that_cannot_be_written_is_an_error(cli: Cli) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = cli.process("version", stdout=full)
    assert (ran.code, ran.err) == (1, "artifactstore: cannot write the answer: No space left on device\n")


@pytest.mark.slow
def test_events_are_followed_line_by_line_until_interrupted(cli: Cli, tree: Path) -> None:
    cli.ok("package", "create", "first")
    with cli.started("events", "--follow", "--json") as process:
        assert process.stdout is not None
        assert b'"sequence": 1' in process.stdout.readline()
        assert b'"sequence": 2' in process.stdout.readline()
        cli.ok("package", "create", "second")  # in this process, seen by the one that follows
        assert b'"sequence": 3' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert err == b"artifactstore: interrupted\n"


@pytest.mark.slow
def test_text_is_utf_8_whatever_the_locale_says(
    cli: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "Größe 🎉").write_bytes(b"")
    cli.ok("ingest", tree)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = cli.process("history")
    assert (shown.code, shown.err) == (0, "")
    assert "Größe 🎉" in shown.text
    listed = cli.process("package", "show", "tree", "--json")
    assert "Größe 🎉" in {file["path"] for file in listed.json["file_list"]}


def test_make_alone_lists_its_targets() -> None:
    listed = subprocess.run(["make", "-s"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[0] for line in listed.splitlines()}
    assert targets >= {"dev", "test", "lint", "type", "migrate", "migrate-fresh", "demo", "bench"}
    assert all(len(line.split()) > 2 for line in listed.splitlines()), "a target is not explained"


@pytest.mark.parametrize(
    "arguments", [("version",), ("--version",), ("version", "--json"), ("--version", "package")], ids=" ".join
)
def test_the_version_is_that_of_the_distribution(arguments: tuple[str, ...]) -> None:
    ran = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=True)
    assert distribution_version("artifactstore-actors") == VERSION
    assert ran.stdout in {f"artifactstore {VERSION}\n", f'{{"version": "{VERSION}"}}\n'}
