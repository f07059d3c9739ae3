"""What `ingest` and `package add` read besides one directory: several paths, one file, stdin; and a dry run."""

import os
import shutil
from collections.abc import Callable, Generator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from integration.cli.harness import Cli


@pytest.fixture
def stdin() -> Generator[Callable[[bytes], None]]:
    """Puts bytes into a pipe that is the process's stdin."""
    kept = os.dup(0)

    def give(content: bytes) -> None:
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        os.dup2(reading, 0)
        os.close(reading)

    yield give
    os.dup2(kept, 0)
    os.close(kept)


def paths_in(cli: Cli, package: str) -> list[str]:
    return [file["path"] for file in cli.json("package", "show", package)["file_list"]]


def test_several_sources_are_one_package(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"notes")
    assert (
        "several sources have no name in common; name the package with --name"
        in cli.run("ingest", tree, "notes.txt").err
    )
    cli.ok("ingest", tree, "notes.txt", "--name", "both", "--prefix", "out")
    assert paths_in(cli, "both")[-1] == "out/tree/data/report.json"
    assert "out/notes.txt" in paths_in(cli, "both")
    cli.ok("ingest", "notes.txt")
    assert paths_in(cli, "notes.txt") == ["notes.txt"]


def test_a_pipe_is_a_file_with_a_name(cli: Cli, stdin: Callable[[bytes], None], tree: Path) -> None:
    stdin(b'{"ok": true}')
    cli.ok("ingest", "-", "--stdin-name", "report.json")
    assert cli.ok("get", "report.json", "report.json").out == b'{"ok": true}'
    stdin(b"log")
    cli.ok("ingest", tree, "-", "--stdin-name", "build/log.txt", "--name", "with-log")
    assert cli.ok("get", "with-log", "build/log.txt").out == b"log"
    cli.ok("package", "create", "p")
    stdin(b"added")
    cli.ok("package", "add", "p", "-", "--as", "d/x")
    cli.ok("package", "finalize", "p")
    assert cli.ok("get", "p", "d/x").out == b"added"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-",), "give --stdin-name, or --unpack"),
        (("-", "-", "--stdin-name", "x"), "only once"),
        (("tree", "--stdin-name", "x"), "give - as a PATH too"),
    ],
)
def test_stdin_needs_one_name(cli: Cli, tree: Path, arguments: tuple[str, ...], says: str) -> None:
    assert tree.name == "tree"
    ran = cli.run("ingest", *arguments)
    assert ran.code == 2
    assert says in " ".join(ran.err.replace("│", " ").split())


def test_a_file_can_be_named_like_stdin(cli: Cli, tmp_path: Path, stdin: Callable[[bytes], None]) -> None:
    (tmp_path / "-").write_bytes(b"a file")
    stdin(b"not read")
    cli.ok("ingest", "./-", "--name", "dash")
    assert cli.ok("get", "dash", "-").out == b"a file"
    cli.ok("get", "dash", "-", "-o", "./-")
    cli.ok("package", "create", "p")
    cli.ok("package", "add", "p", "./-", "--as", "x")
    (tmp_path / "-").write_text("-")
    cli.ok("export", "dash", "out", "--files-from", "./-")
    assert (tmp_path / "out" / "-").read_bytes() == b"a file"
    assert cli.run("ingest", "-").code == 2


def test_a_dash_is_a_stream_also_beside_a_directory_of_this_name(
    cli: Cli, tmp_path: Path, stdin: Callable[[bytes], None]
) -> None:
    (tmp_path / "-").mkdir()
    cli.ok("package", "create", "p")
    stdin(b"1\n2\n")
    cli.ok("package", "add", "p", "-", "--as", "x")
    cli.ok("package", "finalize", "p")
    assert cli.ok("get", "p", "x").out == b"1\n2\n"
    for command in (("export", "p", "-"), ("backup", "-"), ("package", "copy", "p", "--to", "-")):
        ran = cli.run(*command)
        assert (ran.code, "is not for stdout" in " ".join(ran.err.replace("│", " ").split())) == (2, True), command
    assert list((tmp_path / "-").iterdir()) == []
    cli.ok("export", "p", "./-")
    assert (tmp_path / "-" / "x").read_bytes() == b"1\n2\n"


@pytest.mark.parametrize(("name", "reason"), [("", "it is empty"), ("/x", "it is absolute"), ("x/", "an empty part")])
def test_a_name_of_stdin_that_no_package_can_hold_leaves_no_store_behind(
    cli: Cli, stdin: Callable[[bytes], None], name: str, reason: str
) -> None:
    stdin(b"content")
    assert reason in cli.refused("ingest", "-", "--stdin-name", name, "--name", "n")
    assert not cli.database.exists()
    cli.ok("package", "create", "p")
    assert reason in cli.refused_without_a_trace("package", "add", "p", "-", "--as", name)


def test_an_empty_stdin_is_stored_with_a_warning(cli: Cli, stdin: Callable[[bytes], None], tree: Path) -> None:
    cli.ok("package", "create", "open")
    for command in (
        ("ingest", "-", "--stdin-name", "x", "--dry-run"),
        ("ingest", "-", "--stdin-name", "x"),
        ("ingest", tree, "-", "--stdin-name", "x", "--name", "n", "--prefix", "p"),
        ("package", "add", "open", "-", "--as", "x"),
    ):
        stdin(b"")
        ran = cli.run(*command)
        assert (ran.code, "stdin was empty; " in ran.err, "pipefail" in ran.err) == (0, True, True), command
    stdin(b"")
    assert cli.run("ingest", tree, "-", "--stdin-name", "x", "--name", "n", "--exclude", "/x").code == 0
    stdin(b"1")
    cli.ok("ingest", tree, "-", "--stdin-name", "x", "--name", "n")  # the empty file in the tree is not meant


def test_more_than_ten_paths_are_counted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(12):
        (tmp_path / "many" / f"{number:02}.tmp").touch()
    ran = cli.run("ingest", "many", "--exclude", "*.tmp")
    assert ran.text.splitlines()[-2:] == ["  09.tmp", "  and 2 more, which --json lists"]
    ran = cli.run("ingest", "many", "--exclude", "*.tmp", "--dry-run", "--list")
    assert len(ran.text.splitlines()) == 14


def test_several_things_are_added_at_once(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"notes")
    cli.ok("package", "create", "p")
    cli.ok("package", "add", "p", tree / "bin", "notes.txt", "--prefix", "x")
    cli.ok("package", "add", "p", "notes.txt", "--prefix", "y/")
    assert paths_in(cli, "p") == ["x/bin/run.sh", "x/notes.txt", "y/notes.txt"]
    assert cli.run("package", "add", "p", tree, "notes.txt", "--as", "z").code == 2
    assert "name the file with --as" in cli.run("package", "add", "p", "-").err
    assert cli.run("package", "add", "p", "notes.txt", "--as", "z", "--prefix", "x").code == 2


def test_a_dry_run_says_what_would_be_stored_and_makes_no_store(cli: Cli, tree: Path) -> None:
    (tree / "link").symlink_to("README.md")
    summary = "would store 2 files, 1 link, 25 B\nwould leave out 1 path\n  data\n"
    assert cli.ok("ingest", tree, "--dry-run", "--exclude", "data").text == summary
    said = cli.ok("ingest", tree, "--dry-run", "--list", "--exclude", "data").text
    assert "8 B  README.md" in said
    assert "link  link" in said
    assert said.endswith(summary)
    assert cli.run("ingest", tree, "--list").code == 2
    found = cli.json("ingest", tree, "--dry-run", "--exclude", "data")
    assert [entry["path"] for entry in found["entries"]] == ["README.md", "bin/run.sh", "link"]
    assert not cli.objects.exists()
    assert not cli.database.exists()
    assert "unknown retention class" in cli.run("ingest", tree, "--dry-run", "--retention", "ever").err
    (tree / "out").symlink_to("/etc")
    assert "leave links out with --links skip" in cli.run("ingest", tree, "--dry-run").err


def test_what_cannot_be_read_is_named_and_left_out_if_asked(
    cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "secret").touch()
    (tree / "secret").chmod(0o600)
    allows = os.access

    def denies(path: bytes, mode: int, **how: bool) -> bool:
        return b"secret" not in os.fsencode(path) and allows(path, mode, **how)

    monkeypatch.setattr(os, "access", denies)
    advice = "'secret' cannot be read: Permission denied; leave out what cannot be read with --skip-unreadable"
    assert advice in cli.run("ingest", tree).err
    assert cli.run("ingest", tree, "--skip-unreadable").text.endswith("not readable     1 path\n  secret\n")
    assert "secret" not in paths_in(cli, "tree")
    assert cli.json("package", "show", "tree")["annotations"] == {
        "artifactstore.unreadable": {"count": 1, "paths": ["secret"]}
    }
    assert cli.json("ingest", tree, "--skip-unreadable")["unreadable"] == ["secret"]
    (tree / "bin" / "secret").touch(0o600)
    package = cli.json("package", "create", "more")["package_id"]
    cli.ok("package", "add", package, tree, "--skip-unreadable")
    cli.ok("package", "add", package, tree / "bin", "--skip-unreadable", "--prefix", "x")
    noted = cli.json("package", "show", package)["annotations"]["artifactstore.unreadable"]
    assert noted == {"count": 3, "paths": ["bin/secret", "secret", "x/secret"]}


def test_every_refusal_is_a_line_and_the_advice_is_said_once(cli: Cli, tree: Path) -> None:
    (tree / "out").symlink_to("/etc")
    os.mkfifo(tree / "a\npipe")
    ran = cli.run("ingest", tree)
    first, *lines = ran.err.splitlines()
    assert first.endswith(
        "cannot be stored; leave links out with --links skip or --exclude, or rename what a package cannot name, or "
        "leave it out with --exclude"
    )
    assert lines == [
        "  'a\\npipe' is no path of a package: control character U+000A is not allowed; rename the file",
        "  'out' -> '/etc' is absolute; make it relative",
        "  to leave all of them out: --exclude '/a?pipe' --exclude /out",
    ]


def test_an_archive_of_a_directory_is_the_package_of_the_directory(
    cli: Cli, tree: Path, tmp_path: Path, stdin: Callable[[bytes], None]
) -> None:
    (tree / "link").symlink_to("README.md")
    (tree / "empty directory").mkdir()
    digest = cli.json("ingest", tree)["tree_digest"]
    archive = Path(shutil.make_archive(str(tmp_path / "from-tar"), "gztar", tree))
    assert cli.json("ingest", archive, "--unpack")["tree_digest"] == digest
    assert cli.ok("get", "from-tar", "bin/run.sh").out == (tree / "bin" / "run.sh").read_bytes()
    stdin(archive.read_bytes())
    assert cli.json("ingest", "-", "--unpack", "--name", "piped")["tree_digest"] == digest
    cli.ok("package", "create", "added")
    cli.ok("package", "add", "added", archive, "--unpack")
    assert cli.json("package", "finalize", "added")["tree_digest"] == digest
    cli.ok("ingest", archive)
    assert paths_in(cli, "from-tar.tar.gz") == ["from-tar.tar.gz"]


def test_sources_without_a_file_are_stored_with_a_warning(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    nothing = "artifactstore: warning: the sources have no file\n"
    excluded = "artifactstore: warning: the sources have no file that is not left out\n"
    cli.ok("package", "create", "p")
    for command, told in (
        (("ingest", "nothing"), nothing),
        (("ingest", "nothing", "--dry-run"), nothing),
        (("package", "add", "p", "nothing", "--json"), nothing),
        (("ingest", tree, "--exclude", "*"), excluded),
    ):
        ran = cli.run(*command)
        assert (ran.code, ran.err) == (0, told)
    assert cli.ok("ingest", "nothing", "--quiet").out == b""


def test_an_empty_source_below_a_prefix_is_an_empty_directory(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    shutil.make_archive(str(tmp_path / "empty"), "zip", tmp_path / "nothing")
    for number, source in enumerate(("nothing", "empty.zip")):
        cli.run("ingest", source, "--unpack", "--name", f"p{number}", "--prefix", "a/b")
        assert paths_in(cli, f"p{number}") == ["a/b"]


def test_two_files_of_one_name_are_refused_with_a_way_out(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("another one")
    line = cli.refused_without_a_trace("ingest", tree / "README.md", "README.md", "--name", "both")
    assert line.startswith("path 'README.md' refused: ")
    assert "it occurs twice in the sources; rename one, or add the sources one by one" in line
    cli.ok("package", "create", "both")
    cli.ok("package", "add", "both", tree / "README.md")
    cli.ok("package", "add", "both", "README.md", "--prefix", "other")
    assert paths_in(cli, "both") == ["README.md", "other/README.md"]


def test_a_damaged_archive_makes_no_package(cli: Cli, tree: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "a"), "tar", tree))
    archive.write_bytes(archive.read_bytes()[:3000])
    assert "archive" in cli.refused_without_a_trace("ingest", archive, "--unpack")


def test_a_note_of_what_could_not_be_read_never_ends_an_ingest(
    cli: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "secret").touch()
    (tree / "secret").chmod(0o600)
    allows = os.access

    def denies(path: bytes, mode: int, **how: bool) -> bool:
        return b"secret" not in os.fsencode(path) and allows(path, mode, **how)

    monkeypatch.setattr(os, "access", denies)
    meta = ("--meta", "artifactstore.unreadable=x")
    assert "is for an annotation" in cli.refused_without_a_trace("ingest", tree, "--skip-unreadable", *meta)
    (tmp_path / "closed.json").write_text('{"type": "object", "additionalProperties": false}')
    cli.ok("schema", "add", "closed", "closed.json")
    cli.ok("ingest", tree, "--skip-unreadable", "--schema", "closed")
    cli.ok("package", "create", "p")
    cli.ok("package", "annotate", "p", 'artifactstore.unreadable:={"paths": 5}')
    cli.ok("package", "add", "p", tree, "--skip-unreadable")
    assert cli.json("package", "show", "p")["annotations"]["artifactstore.unreadable"]["paths"] == ["secret"]
    monkeypatch.setattr(os, "access", allows)
    cli.ok("package", "add", "p", tree)
    assert cli.json("package", "show", "p")["annotations"] == {}


def test_rules_in_a_file_leave_out_what_they_match(
    cli: Cli, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = b"# build\r\n\n/data/*\n*.md\n!/data/empty\n"
    (tmp_path / "rules").write_bytes(rules)
    cli.ok("ingest", tree, "--name", "p", "--exclude-from", "rules")
    assert paths_in(cli, "p") == ["bin/run.sh", "data/empty"]
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(rules)))
    cli.ok("ingest", tree, "--name", "q", "--exclude-from", "-", "--exclude", "!README.md", "--exclude", "empty")
    assert paths_in(cli, "q") == ["README.md", "bin/run.sh"]
    cli.ok("package", "create", "r")
    cli.ok("package", "add", "r", tree, "--exclude-from", "rules", "--exclude-from", "/dev/null")
    cli.ok("package", "finalize", "r")
    assert paths_in(cli, "r") == ["bin/run.sh", "data/empty"]


def test_rules_that_would_do_nothing_are_refused(cli: Cli, tree: Path) -> None:
    for option in ("--exclude", "--include"):
        told = cli.refused("ingest", tree, option, "*.md\n/data/")
        assert "it has several lines; give each as a rule, or their file with --exclude-from" in told
    for arguments in ((tree, "--exclude-from", "gone"), ("-", "--stdin-name", "x", "--exclude-from", "-")):
        ran = cli.run("ingest", *arguments)
        assert (ran.code, "No such file" in ran.err or "stdin can be read only once" in ran.err) == (2, True)
    assert not cli.database.exists()


def test_a_packed_directory_is_the_package_of_the_directory_without_its_name(
    cli: Cli, tree: Path, tmp_path: Path, stdin: Callable[[bytes], None]
) -> None:
    shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path, tree.name)
    digest = cli.json("ingest", tree)["tree_digest"]
    packed = ("packed.tar", "--unpack", "--strip-components", "1")
    assert cli.json("ingest", *packed)["tree_digest"] == digest
    assert "would store 5 files" in cli.ok("ingest", *packed, "--dry-run").text
    cli.ok("package", "create", "p")
    cli.ok("package", "add", "p", *packed)
    cli.ok("package", "finalize", "p")
    assert cli.json("package", "show", "p")["tree_digest"] == digest
    assert "no name would be left of" in cli.refused("ingest", "packed.tar", "--unpack", "--strip-components", "9")
    assert cli.refused("ingest", tree, "--strip-components", "9").startswith("invalid --strip-components '9': ")
    stdin(b"1")
    cli.ok("ingest", "-", "--stdin-name", "build/x", "--strip-components", "1", "--name", "q")
    assert paths_in(cli, "q") == ["x"]
