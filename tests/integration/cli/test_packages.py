"""Packages step by step, and what a person is shown: every fact, and nothing that a terminal takes for a command."""

import unicodedata
from pathlib import Path

import pytest

from integration.cli.harness import Cli

PACKAGE_KEYS = [
    "package_id",
    "name",
    "status",
    "version",
    "files",
    "links",
    "directories",
    "bytes",
    "retention_class",
    "retention_duration_us",
    "expires_at",
    "metadata",
    "created_by",
    "created_at",
    "finalized_at",
    "manifest_digest",
    "tree_digest",
    "created_sequence",
    "finalized_sequence",
    "tags",
    "annotations",
    "schema",
    "parents",
    "gone_at",
    "gone_by",
    "gone_reason",
    "gone_sequence",
]
FILE_KEYS = [
    "package_id",
    "path",
    "kind",
    "bytes",
    "executable",
    "media_type",
    "content_address",
    "sha256",
    "target",
    "sequence",
]


@pytest.mark.slow
def test_a_package_is_created_filled_and_finalized_step_by_step(cli: Cli, tree: Path) -> None:
    created = cli.json("package", "create", "steps", "--retention", "ephemeral", "--meta", "a=b")
    assert list(created) == PACKAGE_KEYS
    assert (created["status"], created["files"], created["manifest_digest"]) == ("open", 0, None)
    package = created["package_id"]

    added = cli.json("package", "add", package, tree / "bin/run.sh", "--as", "tools/run")
    assert list(added) == FILE_KEYS
    assert (added["path"], added["executable"], added["bytes"]) == ("tools/run", True, 17)
    assert cli.json("package", "add", "steps", tree / "README.md")["path"] == "README.md"
    rest = cli.json("package", "add", package, tree)
    assert rest == {
        "package_id": package,
        "files": 5,
        "links": 0,
        "directories": 0,
        "bytes": 51,
        "unchanged_files": 1,
        "reused_files": 0,
        "excluded": [],
        "unreadable": [],
        "sequence": 8,
    }

    finalized = cli.json("package", "finalize", "steps")
    assert list(finalized) == [
        "package_id",
        "name",
        "manifest_digest",
        "tree_digest",
        "files",
        "links",
        "directories",
        "bytes",
        "sequence",
    ]
    assert (finalized["files"], finalized["bytes"], finalized["sequence"]) == (6, 68, 9)

    shown = cli.json("package", "show", "steps")
    assert list(shown) == [*PACKAGE_KEYS, "file_list"]
    assert (shown["status"], shown["manifest_digest"]) == ("finalized", finalized["manifest_digest"])
    assert [list(file) for file in shown["file_list"]] == [FILE_KEYS] * 6
    (listed,) = cli.json_lines("package", "list")
    assert listed == {key: value for key, value in shown.items() if key != "file_list"}


@pytest.mark.slow
def test_a_package_and_one_ingest_of_the_same_tree_have_the_same_tree_digest(cli: Cli, tree: Path) -> None:
    whole = cli.json("ingest", tree)
    cli.ok("package", "create", "steps", "--meta", "os=linux", "--meta", "branch=main")
    for path in sorted(tree.rglob("*"), reverse=True):
        if path.is_file():
            cli.ok("package", "add", "steps", path, "--as", path.relative_to(tree).as_posix())
    assert cli.json("package", "finalize", "steps")["tree_digest"] == whole["tree_digest"]


@pytest.mark.slow
def test_every_step_tells_a_person_what_it_did(cli: Cli, tree: Path) -> None:
    package = cli.ok("package", "create", "steps", "--meta", "os=linux", "--meta", "branch=main").text.removesuffix(
        "\n"
    )
    assert cli.json("package", "show", package)["package_id"] == package, "the id alone, for a script"
    cli.ok("package", "create", "other")
    added = cli.json("package", "add", package, tree / "README.md", "--as", "a")
    again = cli.ok("package", "add", package, tree / "README.md", "--as", "b").text
    assert again == f"b  8 B  {added['content_address']}\n"
    assert cli.ok("package", "add", package, tree).text == "5 files, 51 B; 0 files there already\n"
    finalized = cli.ok("package", "finalize", package).text
    shown = cli.json("package", "show", package)
    assert finalized == f"{package}  {shown['manifest_digest']}\n"
    _header, first, second = [line.split() for line in cli.ok("package", "list", "--reverse").text.splitlines()]
    assert [*first[:2], *first[4:]] == [package, "finalized", "7", "files", "67", "B", "tester", "steps"]
    assert [first[3], second[1]] == ["s", "open"]
    assert second[4:] == ["0", "files", "0", "B", "tester", "other"]
    only_json = {"retention_duration_us": "retention_duration", "version": None}
    said = [key for key in PACKAGE_KEYS if shown[key] not in (None, [], {})]
    names = [name for key in said if (name := only_json.get(key, key)) is not None]
    text = cli.ok("package", "show", package).text.splitlines()[: len(names)]
    lines = dict(line.split(maxsplit=1) for line in text)
    assert list(lines) == names
    assert (lines["name"], lines["created_by"], lines["metadata"]) == ("steps", "tester", "os=linux, branch=main")


def test_an_empty_store_lists_nothing(cli: Cli) -> None:
    cli.create()
    for command in (("package", "list"), ("events",), ("history",)):
        assert cli.ok(*command).out == b""
        assert cli.json_lines(*command) == []


def test_the_audit_tells_who_did_what(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = cli.json("package", "create", "told")["package_id"]
    monkeypatch.setenv("LOGNAME", "somebody else")
    cli.ok("package", "add", "told", tree / "README.md")
    cli.ok("package", "finalize", "told")
    cli.ok("package", "create", "other")
    story = cli.json_lines("history", "told")
    assert list(story[0]) == ["sequence", "recorded_at", "principal", "type", "subject", "detail", "package_id"]
    assert [(line["sequence"], line["principal"]) for line in story] == [
        (2, "tester"),
        (4, "somebody else"),
        (5, "somebody else"),
    ]
    assert {line["subject"] for line in story} == {line["package_id"] for line in story} == {package}
    assert [line["detail"].split()[0] for line in story] == ["created", "added", "finalized,"]
    assert len(cli.json_lines("history")) == 6
    shown = cli.ok("history", package).text.splitlines()
    assert [line.split("  ")[1:] for line in shown] == [[line["principal"], package, line["detail"]] for line in story]


# What `check_path` lets through and a terminal would act on: direction marks, line and paragraph separators.
HOSTILE = "a\u202egpj.exe\u2028b\u2066\u200f\ufeff\u00ad"


def test_no_name_can_pass_a_command_to_the_terminal(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / HOSTILE).write_bytes(b"")
    cli.ok("ingest", "tree", "--meta", f"key=value\x1b[2J{HOSTILE}")
    for command in (("package", "show", "tree"), ("history",), ("events",)):
        shown = cli.ok(*command).text
        kinds = {unicodedata.category(character) for character in shown if character != "\n"}
        assert not kinds & {"Cc", "Cf", "Zl", "Zp"}, command
    assert "a\\u202egpj.exe\\u2028b" in cli.ok("package", "show", "tree").text
    (file,) = cli.json("package", "show", "tree")["file_list"]
    assert file["path"] == HOSTILE


def test_no_argument_can_pass_a_command_to_the_terminal(cli: Cli) -> None:
    for command in (
        ("package", "show", "\x1b[2J"),
        ("ingest", "missing\x1b[2J"),
        ("get", "\x1b]0;x\x07", "a"),
        ("health", "--url", "http://\x1b[2J"),
        ("migrate", "--fresh", "--destroy-log", "\x1b[2J"),
    ):
        assert "\x1b" not in cli.run(*command).err
    assert "\x1b" not in cli.run("package", "show", "a", "\x1b[2J").err


COMMANDS = [
    ("ingest",),
    ("get",),
    ("manifest",),
    ("export",),
    ("verify",),
    ("repair",),
    ("gc",),
    ("purge",),
    ("redact",),
    ("replay",),
    ("events",),
    ("history",),
    ("backup",),
    ("restore",),
    ("version",),
    ("migrate",),
    ("doctor",),
    ("health",),
    ("actors",),
    ("dev",),
    ("serve",),
    ("find",),
    ("stats",),
    ("du",),
    ("ls",),
    ("tree",),
    ("diff",),
    *(("package", step) for step in ("create", "add", "finalize", "annotate", "list", "show", "copy", "delete")),
    ("expire",),
    ("clock", "confirm"),
    *(("hold", step) for step in ("place", "release", "list")),
    *(("retention", step) for step in ("set", "extend", "list", "explain")),
    *(("schema", step) for step in ("add", "list", "show", "require", "unrequire")),
    *(("retention", "policy", step) for step in ("set", "show", "list", "delete", "apply")),
    *(("retention", "class", step) for step in ("add", "list")),
    *(("tag", step) for step in ("set", "delete", "show", "list", "log")),
    *(("token", step) for step in ("create", "list", "revoke")),
    *((command,) for command in ("login", "logout")),
]
GROUPS = [
    *(("package",), ("schema",), ("tag",), ("token",), ("hold",), ("clock",)),
    *(("retention",), ("retention", "policy"), ("retention", "class")),
]
BYTES_ONLY = {("get",), ("manifest",), ("dev",), ("serve",)}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_every_argument_of_it(cli: Cli, command: tuple[str, ...]) -> None:
    shown = cli.ok(*command, "--help").text
    assert shown.startswith(f"Usage: artifactstore {' '.join(command)}")
    assert cli.ok(*command, "-h").text == shown
    assert ("--json" in shown) == (command not in BYTES_ONLY)
    assert not cli.database.exists()


def test_the_list_of_commands_is_complete_and_no_line_of_it_is_cut(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    for group, names in (
        (group, {each[len(group)] for each in COMMANDS if each[: len(group)] == group}) for group in ((), *GROUPS)
    ):
        listed = cli.ok(*group, "--help").text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        assert {line.split()[0] for line in listed} == names
        assert not [line for line in listed if line.endswith("...")]
