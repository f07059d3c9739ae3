"""A command that is repeated with its idempotency key prints its first answer and writes nothing."""

from pathlib import Path

import pytest

from integration.cli.harness import Cli

COMMANDS = {
    "ingest": ("ingest", "tree", "--meta", "a=b"),
    "package create": ("package", "create", "new", "--meta", "a=b"),
    "package add": ("package", "add", "open", "tree/README.md", "--as", "docs/README.md"),
}


@pytest.fixture
def open_package(cli: Cli, tree: Path) -> None:
    cli.ok("package", "create", "open")


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_the_first_answer_comes_again_and_nothing_is_written(
    cli: Cli, open_package: None, command: tuple[str, ...]
) -> None:
    first = cli.json(*command, "--idempotency-key", "build 17")
    before = cli.state()
    assert cli.json(*command, "--idempotency-key", "build 17") == first
    assert cli.state() == before


OTHERS = {
    "ingest under another name": (COMMANDS["ingest"], ("--name", "other")),
    "ingest with other metadata": (COMMANDS["ingest"], ("--meta", "c=d")),
    "ingest with another retention": (COMMANDS["ingest"], ("--retention", "short")),
    "create with another retention": (COMMANDS["package create"], ("--retention", "short")),
    "create with other metadata": (COMMANDS["package create"], ("--meta", "c=d")),
    "add with replace": (COMMANDS["package add"], ("--replace",)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "more"), OTHERS.values(), ids=OTHERS.keys())
def test_the_same_key_with_other_arguments_is_refused(
    cli: Cli, open_package: None, command: tuple[str, ...], more: tuple[str, ...]
) -> None:
    cli.ok(*command, "--idempotency-key", "k")
    line = cli.refused_without_a_trace(*command, *more, "--idempotency-key", "k")
    assert "'k'" in line


def test_the_same_key_for_another_file_is_refused(cli: Cli, open_package: None) -> None:
    cli.ok("package", "add", "open", "tree/README.md", "--as", "a", "--idempotency-key", "k")
    for other in (("tree/README.md", "--as", "b"), ("tree/bin/run.sh", "--as", "a")):
        assert "'k'" in cli.refused_but_for_bytes("package", "add", "open", *other, "--idempotency-key", "k")


def test_the_same_key_by_somebody_else_is_refused(
    cli: Cli, open_package: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("package", "create", "new", "--idempotency-key", "k")
    monkeypatch.setenv("LOGNAME", "somebody")
    assert "'k'" in cli.refused_without_a_trace("package", "create", "new", "--idempotency-key", "k")


def test_a_key_of_one_kind_of_command_is_refused_for_another(cli: Cli, open_package: None) -> None:
    cli.ok("package", "create", "new", "--idempotency-key", "k")
    add = ("package", "add", "open", "tree/README.md", "--idempotency-key", "k")
    assert "'k'" in cli.refused_but_for_bytes(*add)


def test_a_repeated_ingest_continues_where_the_first_one_broke_off(cli: Cli, tree: Path) -> None:
    """The first attempt got as far as a package with one file."""
    opened = cli.json("package", "create", "tree", "--idempotency-key", "k")["package_id"]
    cli.ok("package", "add", opened, tree / "README.md")
    answer = cli.json("ingest", tree, "--idempotency-key", "k")
    assert (answer["package_id"], answer["files"]) == (opened, 5)
    assert [line["type"] for line in cli.json_lines("events")].count("v1.files.ingested") == 2


def test_finalizing_again_gives_the_same_answer(cli: Cli, open_package: None) -> None:
    cli.ok("package", "add", "open", "tree")
    first = cli.json("package", "finalize", "open")
    before = cli.state()
    assert cli.json("package", "finalize", "open") == first
    assert cli.state() == before


def test_adding_a_directory_again_writes_nothing(cli: Cli, open_package: None) -> None:
    first = cli.json("package", "add", "open", "tree")
    before = cli.state()
    again = cli.json("package", "add", "open", "tree")
    assert (first["unchanged_files"], again["unchanged_files"]) == (0, 5)
    assert cli.state() == before
