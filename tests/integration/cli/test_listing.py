"""`ls`, `tree` and `diff`: what packages contain, and how they differ."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from integration.cli.harness import Cli, make_tree


@pytest.fixture
def stored(cli: Cli, tmp_path: Path) -> str:
    """A package with files, a link and directories."""
    build = tmp_path / "build"
    make_tree(build, {"run.sh": b"#!/bin/sh\n", "docs/notes.txt": b"x" * 2000, "docs/img/dot.svg": b"<svg/>"})
    (build / "run.sh").chmod(0o755)
    (build / "latest").symlink_to("docs/notes.txt")
    (build / "logs").mkdir()
    return str(cli.json("ingest", build)["package_id"])


def test_a_directory_is_listed(cli: Cli, stored: str) -> None:
    assert cli.ok("ls", stored).text.splitlines() == ["docs/", "latest -> docs/notes.txt", "logs/", "run.sh*"]
    assert cli.ok("ls", "build", "docs").text.splitlines() == ["img/", "notes.txt"]
    assert cli.ok("ls", "build", "docs/notes.txt").text.splitlines() == ["notes.txt"]
    assert cli.ok("ls", "build", "logs").text == ""
    docs, *_others = cli.json_lines("ls", stored)
    assert (docs["path"], docs["kind"], docs["bytes"], docs["entries"]) == ("docs", "directory", 2006, 2)


def test_a_directory_is_listed_with_sizes_and_digests(cli: Cli, stored: str) -> None:
    lines = [line.split() for line in cli.ok("ls", stored, "docs", "--long").text.splitlines()]
    assert lines[0] == ["6", "B", "1", "entries", "img/"]
    size, unit, media_type, digest, name = lines[1]
    assert (size, unit, media_type, name) == ("2.0", "KiB", "text/plain", "notes.txt")
    assert digest.startswith("blake3:")


def test_all_paths_are_printed_indented(cli: Cli, stored: str) -> None:
    assert cli.ok("tree", stored).text.splitlines() == [
        "docs/",
        "  img/",
        "    dot.svg",
        "  notes.txt",
        "latest -> docs/notes.txt",
        "logs/",
        "run.sh*",
    ]
    assert cli.ok("tree", stored, "docs/img").text.splitlines() == ["docs/", "  img/", "    dot.svg"]
    assert [entry["path"] for entry in cli.json_lines("tree", stored, "docs/")] == [
        "docs/img/dot.svg",
        "docs/notes.txt",
    ]


def test_a_path_is_found_in_either_unicode_form(cli: Cli, tmp_path: Path) -> None:
    make_tree(tmp_path / "names", {"e\u0301/f": b"x"})
    cli.ok("ingest", tmp_path / "names")
    for path in ("é", "e\u0301"):
        assert cli.ok("ls", "names", path).text.splitlines() == ["f"]
        assert cli.ok("tree", "names", path).text.splitlines()[1:] == ["  f"]


@pytest.mark.parametrize("command", ["ls", "tree"])
def test_a_path_that_is_not_there_is_refused(cli: Cli, stored: str, command: str) -> None:
    assert "has no 'doc'" in cli.refused_without_a_trace(command, stored, "doc")


@pytest.mark.slow
def test_two_packages_are_compared(cli: Cli, stored: str, tmp_path: Path) -> None:
    build = tmp_path / "build"
    (build / "docs" / "notes.txt").rename(build / "notes.txt")
    (build / "docs" / "img" / "dot.svg").write_bytes(b"<svg></svg>")
    (build / "run.sh").unlink()
    (build / "new").write_bytes(b"new")
    (build / "latest").unlink()
    (build / "latest").symlink_to("notes.txt")
    cli.ok("ingest", build)
    lines = ["M  docs/img/dot.svg", "M  latest", "A  new", "R  docs/notes.txt -> notes.txt", "D  run.sh"]
    assert cli.ok("diff", stored, "build").text.splitlines() == lines
    assert (
        cli.ok("diff", "build@{1}", "build", "--stat").text.splitlines()[-1]
        == cli.ok("diff", "build@{1}", "build", "--summary").text.strip()
    )
    changed = cli.json_lines("diff", stored, "build")
    assert [change["kind"] for change in changed] == ["changed", "changed", "added", "renamed", "removed"]
    assert changed[0]["after"]["bytes"] == 11
    assert cli.run("diff", stored, "build", "--exit-code").code == 3
    assert cli.ok("diff", stored, "build@{1}", "--exit-code").text == ""
    cli.ok("package", "copy", stored, "--to", "elsewhere")
    assert cli.ok("diff", stored, "build", "--store-b", "elsewhere", "--exit-code").text == ""
    assert cli.run("diff", "build", "build", "--store-b", "elsewhere", "--exit-code").code == 3
    (build / "new").chmod(0o755)
    cli.ok("ingest", build)
    assert cli.ok("diff", "build@{1}", "build").text == "M  new  (now executable)\n"
    assert cli.ok("diff", "build", "build@{1}").text == "M  new  (no longer executable)\n"


@pytest.mark.slow
def test_packages_of_one_tree_digest_are_equal_and_no_entry_is_read(cli: Cli, stored: str, tmp_path: Path) -> None:
    cli.ok("ingest", tmp_path / "build", "--name", "again")
    with closing(sqlite3.connect(cli.database)) as connection, connection:
        connection.execute(
            "DELETE FROM artifact_files WHERE package_number = (SELECT max(package_number) FROM artifact_files)"
        )
    assert cli.ok("diff", stored, "again").text == ""


def test_the_totals_of_a_comparison_are_printed_alone_or_last(cli: Cli, stored: str, tmp_path: Path) -> None:
    build = tmp_path / "build"
    before = (build / "docs" / "notes.txt").stat().st_size
    (build / "docs" / "notes.txt").write_bytes(b"other")
    (build / "new").write_bytes(b"new")
    cli.ok("ingest", build)
    summary = cli.ok("diff", stored, "build", "--summary").text
    assert summary == "1 added, 0 removed, 1 changed, 0 renamed; 2.0 KiB -> 8 B\n"
    totals = {"added": 1, "removed": 0, "changed": 1, "renamed": 0, "bytes_before": before, "bytes_after": 8}
    assert cli.json("diff", stored, "build", "--summary") == {"totals": totals}
    first, second, last = cli.json_lines("diff", stored, "build", "--stat")
    assert (first["kind"], second["kind"], last) == ("changed", "added", {"totals": totals})
    assert set(cli.json("diff", "build", "build", "--summary")["totals"].values()) == {0}
    assert cli.run("diff", stored, "build", "--summary", "--exit-code").code == 3


def test_a_path_may_begin_with_the_directory_itself(cli: Cli, stored: str, tmp_path: Path) -> None:
    for command in (("get", stored, "docs/img/dot.svg"), ("ls", stored, "docs"), ("tree", stored, "docs/img")):
        *beginning, path = command
        assert cli.ok(*beginning, f"./{path}").out == cli.ok(*command).out, command
    assert cli.ok("ls", stored, ".").out == cli.ok("ls", stored).out
    cli.ok("export", f"{stored}:./docs/img", "img")
    (tmp_path / "wanted").write_text("./docs/img/\n./latest\n")
    cli.ok("export", stored, "some", "--files-from", "wanted")
    assert (tmp_path / "img/dot.svg").read_bytes() == (tmp_path / "some/docs/img/dot.svg").read_bytes()
    assert (tmp_path / "some/latest").is_symlink()


@pytest.mark.parametrize("command", ["get", "ls", "tree"])
def test_a_path_after_a_colon_gets_a_hint(cli: Cli, stored: str, command: str) -> None:
    ran = cli.run(command, f"{stored}:docs/a b")
    told = f"the path is an argument of its own: artifactstore {command} {stored} 'docs/a b'"
    assert (ran.code, told in " ".join(ran.err.replace("│", " ").split())) == (2, True), ran.err
    assert "name a file of the package" in cli.run("get", stored).err
