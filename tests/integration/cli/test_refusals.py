"""Bad input: each with a line of its own on stderr, the exit code that says so, and a store as it was."""

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from integration.cli.harness import Cli, make_tree

PATHS = {
    "empty": ("", "it is empty"),
    "absolute": ("/etc/passwd", "it is absolute"),
    "parent": ("..", "part '..' is not allowed"),
    "traversal": ("../../etc/passwd", "part '..' is not allowed"),
    "traversal inside": ("a/../../b", "part '..' is not allowed"),
    "traversal at the end": ("a/..", "part '..' is not allowed"),
    "itself": (".", "part '.' is not allowed"),
    "itself inside": ("a/./b", "part '.' is not allowed"),
    "empty part": ("a//b", "it has an empty part"),
    "a directory": ("a/", "it has an empty part"),
    "backslash": ("a\\b", "a backslash is not allowed"),
    "newline": ("a\nb", "control character U+000A"),
    "escape": ("a\x1b[2J", "control character U+001B"),
    "C1": ("a\x9b2J", "control character U+009B"),
    "undecodable": ("a\udcff", "not valid UTF-8"),
    "long part": ("é" * 128, "one part has 256 bytes, 255 at most"),
    "long path": ("/".join(["x" * 200] * 21), "4220 bytes are too long, 2048 at most"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("path", "reason"), PATHS.values(), ids=PATHS.keys())
def test_every_refused_form_of_a_path(cli: Cli, tree: Path, path: str, reason: str) -> None:
    cli.ok("package", "create", "open")
    line = cli.refused_without_a_trace("package", "add", "open", tree / "README.md", "--as", path)
    assert reason in line
    assert len(line) < 350


def test_a_name_on_disk_that_no_package_may_hold(cli: Cli, tree: Path) -> None:
    (tree / os.fsdecode(b"not utf-8 \xff")).write_bytes(b"")
    assert "not valid UTF-8; rename the file" in cli.refused_without_a_trace("ingest", tree)


def test_two_names_on_disk_that_are_one_under_nfc(cli: Cli, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "twins", {"Caf\u00e9": b"1", "Cafe\u0301": b"2"})
    if len(list(tree.iterdir())) == 1:
        pytest.skip("this file system normalises names itself")
    assert "under Unicode NFC; rename one" in cli.refused_without_a_trace("ingest", tree)


def test_a_path_that_is_taken_needs_replace(cli: Cli, tree: Path) -> None:
    cli.ok("package", "create", "open")
    cli.ok("package", "add", "open", tree / "README.md", "--as", "a")
    line = cli.refused_without_a_trace("package", "add", "open", tree / "README.md", "--as", "a")
    assert "has 'a' already" in line
    assert "--replace" in line
    (tree / "README.md").write_bytes(b"# other\n")
    assert "already" in cli.refused_but_for_bytes("package", "add", "open", tree / "README.md", "--as", "a")
    cli.ok("package", "add", "open", tree / "README.md", "--as", "a", "--replace")
    assert cli.ok("get", "open", "a").out == b"# other\n"


def test_a_path_that_would_be_a_file_and_a_directory(cli: Cli, tree: Path) -> None:
    cli.ok("package", "create", "open")
    cli.ok("package", "add", "open", tree / "README.md", "--as", "a/b")
    for path in ("a", "a/b/c"):
        line = cli.refused_without_a_trace("package", "add", "open", tree / "README.md", "--as", path)
        assert "would be a file and a directory at once" in line


def test_a_finalized_package_refuses_every_change(cli: Cli, tree: Path) -> None:
    package = cli.json("ingest", tree)["package_id"]
    for changed in (("add", package, tree / "README.md", "--as", "new"), ("add", package, tree)):
        assert "is finalized and takes no more changes" in cli.refused_without_a_trace("package", *changed)
    replaced = cli.refused_without_a_trace("package", "add", package, tree / "README.md", "--replace")
    assert "is finalized" in replaced


UNKNOWN = {
    "add": ("package", "add", "nobody", "tree/README.md"),
    "add a directory": ("package", "add", "nobody", "tree"),
    "finalize": ("package", "finalize", "nobody"),
    "show": ("package", "show", "nobody"),
    "manifest": ("manifest", "nobody"),
    "get": ("get", "nobody", "README.md"),
    "export": ("export", "nobody", "out"),
    "verify": ("verify", "nobody"),
    "history": ("history", "nobody"),
    "an id that nobody has": ("package", "show", "01890a5d-ac96-774b-bcce-b302099a8057"),
}


@pytest.mark.parametrize("command", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_an_unknown_package(cli: Cli, tree: Path, command: tuple[str, ...]) -> None:
    line = cli.refused_without_a_trace(*command)
    assert line.startswith("there is no package ")
    assert not Path("out").exists()


def test_a_name_that_several_packages_have(cli: Cli, tree: Path) -> None:
    ids = [cli.json("package", "create", "draft")["package_id"] for _ in range(2)]
    line = cli.refused_without_a_trace("package", "finalize", "draft")
    listed = ", ".join(f"{package_id} (draft, open)" for package_id in ids[::-1])
    assert line == f"'draft' can mean several packages; use the id of one: {listed} (newest first)"


def test_a_package_name_that_would_be_taken_for_a_selector(cli: Cli, tree: Path) -> None:
    line = cli.refused_without_a_trace("package", "create", "nightly@{1}")
    assert "leave out @ : { } and a final ~ or ~n," in line
    renamed = tree.rename(tree.with_name("tree@home"))
    assert line.endswith("which select a package")
    assert "name the package with --name" in cli.refused_without_a_trace("ingest", renamed)


def test_a_manifest_that_is_not_there_yet(cli: Cli) -> None:
    cli.ok("package", "create", "open")
    assert "is still open and has no manifest; finalize it first" in cli.refused_without_a_trace("manifest", "open")


def test_a_file_that_the_package_does_not_have(cli: Cli, tree: Path) -> None:
    cli.ok("ingest", tree)
    assert "has no 'nope'" in cli.refused_without_a_trace("get", "tree", "nope")
    assert "part '..' is not allowed" in cli.refused_without_a_trace("get", "tree", "../tree/README.md")


def test_an_unknown_retention_class(cli: Cli, tree: Path) -> None:
    for command in (("ingest", tree), ("package", "create", "new")):
        line = cli.refused_without_a_trace(*command, "--retention", "forever")
        assert line.startswith(
            "unknown retention class 'forever'; use ephemeral, short, standard, long, permanent, or "
        )
    cli.ok("retention", "class", "add", "forever", "5200w")
    assert cli.json("package", "create", "new", "--retention", "forever")["retention_class"] == "forever"


NO_SOURCE = {
    "nothing": ("missing", "No such file or directory"),
    "below a file": ("tree/README.md/x", "Not a directory"),
    "a device": ("/dev/null", "it is neither a file nor a directory; give a pipe as '-'"),
    "a FIFO": ("fifo", "it is neither a file nor a directory; give a pipe as '-'"),
}


@pytest.mark.parametrize(("path", "reason"), NO_SOURCE.values(), ids=NO_SOURCE.keys())
def test_what_is_neither_a_file_nor_a_directory_cannot_be_ingested(
    cli: Cli, tree: Path, path: str, reason: str
) -> None:
    os.mkfifo("fifo")
    for sources in ([path], [path, "tree", "--name", "n"], ["tree", path, "--name", "n"], [path, "--unpack"]):
        line = cli.refused_without_a_trace("ingest", *sources)
        assert line == f"'{path}' cannot be ingested: {reason}"


def test_two_sources_of_one_name_are_refused(cli: Cli, tree: Path) -> None:
    line = cli.refused_without_a_trace("ingest", tree, tree, "--name", "n")
    assert line == (
        "path 'tree/README.md' refused: it occurs twice in the sources; rename one, or add the sources one by one: "
        "`artifactstore package add` takes --prefix and --as"
    )


def deny(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the system refuse to open or list what is called `name`, as it would for somebody who is not root."""
    real_open, real_scandir = os.open, os.scandir

    def refuse(path: str | bytes | os.PathLike[str]) -> None:
        if Path(os.fsdecode(path)).name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fsdecode(path))

    def guarded_open(path: str | bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        refuse(path)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    def guarded_scandir(path: bytes) -> AbstractContextManager[Iterator[os.DirEntry[bytes]]]:
        refuse(path)
        return real_scandir(path)

    monkeypatch.setattr(os, "open", guarded_open)
    monkeypatch.setattr(os, "scandir", guarded_scandir)


def test_a_file_that_may_not_be_read(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("package", "create", "open")
    deny(monkeypatch, "run.sh")
    assert (
        cli.refused_but_for_bytes("ingest", tree)
        == "'bin/run.sh' cannot be read: Permission denied; give this user access to it and to its directories"
    )
    assert cli.refused_but_for_bytes("package", "add", "open", tree / "bin/run.sh").endswith(
        "run.sh' cannot be read: Permission denied; give this user access to it and to its directories"
    )


def test_a_directory_that_may_not_be_listed(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deny(monkeypatch, "data")
    line = cli.refused_without_a_trace("ingest", tree)
    advice = "leave out what cannot be read with --skip-unreadable"
    assert line == f"'{tree}' cannot be stored: 'data' cannot be listed: Permission denied; {advice}"
    assert cli.json("ingest", tree, "--skip-unreadable")["unreadable"] == ["data"]
    deny(monkeypatch, "tree")
    assert cli.refused_without_a_trace("ingest", tree) == f"'{tree}' cannot be ingested: Permission denied"


def test_a_file_that_grows_while_it_is_read(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = tree / "data/report.json"
    real_read = os.read

    def read(fd: int, length: int) -> bytes:
        if os.path.sameopenfile(fd, watch.fileno()):
            with growing.open("ab") as file:
                file.write(b"more\n")
        return real_read(fd, length)

    cli.ok("package", "create", "open")
    with growing.open("rb") as watch:
        monkeypatch.setattr(os, "read", read)
        line = cli.refused_but_for_bytes("ingest", tree)
        assert "'data/report.json' changed while it was read: it had 13 bytes, then" in line
        assert "changed while it was read" in cli.refused_but_for_bytes("package", "add", "open", growing)


USAGE = {
    "no command": ((), "Usage: artifactstore"),
    "no such command": (("igest",), "No such command 'igest'"),
    "no such option": (("ingest", "tree", "--jsn"), "No such option"),
    "no argument": (("ingest",), "Missing argument"),
    "one argument too many": (("get", "tree", "README.md", "out"), "unexpected extra argument"),
    "several sources without a name": (("ingest", "tree", "tree"), "no name in common; name the package with --name"),
    "metadata without a value": (("ingest", "tree", "--meta", "nonsense"), "'nonsense': write KEY=TEXT, or KEY:=JSON"),
    "metadata without a key": (("ingest", "tree", "--meta", "=v"), "'=v': write KEY=TEXT"),
    "metadata that is no JSON": (("ingest", "tree", "--meta", "a:=main"), "'main': it is no JSON"),
    "metadata of a fraction": (("ingest", "tree", "--meta", "a:=1.5"), "1.5 is not an integer"),
    "metadata in no file": (("ingest", "tree", "--meta-file", "missing.json"), "'missing.json' does not exist"),
    "metadata in no object": (("ingest", "tree", "--meta-file", "tree/README.md"), "'tree/README.md': it is no JSON"),
    "metadata twice": (("package", "create", "p", "--meta", "a=1", "--meta", "a=2"), "'a=2': 'a' is given twice"),
    "since before the beginning": (("events", "--since", "-1"), "not in the range 0<=x<="),
    "since when": (("events", "--since", "yesterday"), "valid int"),
    "another form of manifest": (("manifest", "p", "--format", "xml"), "cbor"),
    "--as for a directory": (("package", "add", "p", "tree", "--as", "x"), "--as and --idempotency-key are for"),
    "a name without --fresh": (("migrate", "--destroy-log", "x"), "--destroy-log goes with --fresh"),
    "bind without a port": (("serve", "--bind", "localhost"), "HOST:PORT"),
    "bind to no number": (("serve", "--bind", "localhost:http"), "HOST:PORT"),
    "bind to no port": (("serve", "--bind", "localhost:65536"), "HOST:PORT"),
}


@pytest.mark.parametrize(("arguments", "reason"), USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_is_told_and_exits_2(cli: Cli, tree: Path, arguments: tuple[str, ...], reason: str) -> None:
    ran = cli.run(*arguments)
    assert (ran.code, ran.out) == (2, b"")
    assert reason in ran.err
    assert not cli.database.exists()


INVALID = {
    "package name, empty": ("package", "create", ""),
    "package name, too long": ("package", "create", "n" * 300),
    "package name with a control character": ("package", "create", "a\x1b[2Jb"),
    "package name with spaces around it": ("package", "create", " a "),
    "idempotency key, empty": ("package", "create", "a", "--idempotency-key", ""),
    "metadata key": ("package", "create", "a", "--meta", "a\nb=1"),
    "metadata value": ("package", "create", "a", "--meta", "a=" + "x" * 5000),
}


@pytest.mark.parametrize("arguments", INVALID.values(), ids=INVALID.keys())
def test_values_that_do_not_have_their_form(cli: Cli, arguments: tuple[str, ...]) -> None:
    line = cli.refused_without_a_trace(*arguments)
    assert line.startswith("invalid ")
    assert len(line) < 200


def test_a_directory_whose_name_cannot_name_a_package(cli: Cli, tmp_path: Path) -> None:
    make_tree(tmp_path / ("x" * 250), {"a": b""})
    line = cli.refused_without_a_trace("ingest", "x" * 250)
    assert line.endswith("; name the package with --name")
    assert cli.json("ingest", "x" * 250, "--name", "short")["name"] == "short"


SETTINGS = {
    "log level": ("ARTIFACTSTORE_LOG_LEVEL", "LOUD", "invalid ARTIFACTSTORE_LOG_LEVEL 'LOUD': use DEBUG, "),
    "number of files": ("ARTIFACTSTORE_PACKAGE_FILES_MAX", "many", "write a whole number from 1 to 999999999"),
    "kind of database": ("ARTIFACTSTORE_DATABASE_URL", "mysql://u:secret@host/db", "invalid database URL 'mysql': use"),
    "no URL": ("ARTIFACTSTORE_DATABASE_URL", "/var/log.db", "write sqlite:///FILE or postgresql://"),
    "in memory": ("ARTIFACTSTORE_DATABASE_URL", "sqlite://", "name a file, such as sqlite:///"),
    "a directory": ("ARTIFACTSTORE_DATABASE_URL", "sqlite:////tmp", "it is a directory; name a file in it"),
    "nobody there": (
        "ARTIFACTSTORE_DATABASE_URL",
        "postgresql://u:secret@127.0.0.1:1/db",
        "database 127.0.0.1:1/db is not available: ",
    ),
    "root below a file": ("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", "tree/README.md/objects", "making the root"),
    "root is a file": ("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", "tree/README.md", "making the root"),
}


@pytest.mark.parametrize(("name", "value", "reason"), SETTINGS.values(), ids=SETTINGS.keys())
def test_bad_settings(
    cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    line = cli.refused("package", "create", "p")
    assert reason in line
    assert "secret" not in line
    assert not cli.database.exists()


def test_an_empty_setting_counts_as_not_set(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_LOG_LEVEL", "")
    monkeypatch.setenv("ARTIFACTSTORE_PACKAGE_FILES_MAX", "")
    cli.ok("package", "create", "p")


def test_more_files_than_a_package_may_hold(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_PACKAGE_FILES_MAX", "4")
    line = cli.refused_without_a_trace("ingest", tree)
    assert (
        "holds more than 4 files, links and empty directories; split it, or raise ARTIFACTSTORE_PACKAGE_FILES_MAX"
        in line
    )
    cli.ok("package", "create", "open")
    (tree / "bin/run.sh").unlink()
    (tree / "bin").rmdir()
    cli.ok("package", "add", "open", tree)
    fifth = cli.refused_without_a_trace("package", "add", "open", tree / "README.md", "--as", "fifth")
    assert "would hold more than 4 files" in fifth


def test_an_export_needs_a_new_or_an_empty_directory(cli: Cli, tree: Path, tmp_path: Path) -> None:
    cli.ok("ingest", tree)
    before = sorted(tree.rglob("*"))
    assert cli.refused_without_a_trace("export", "tree", tree) == (
        f"cannot write to '{tree}': it is not empty; name a new or an empty directory, or add --update"
    )
    assert sorted(tree.rglob("*")) == before
    assert "cannot write to 'tree/README.md'" in cli.refused_without_a_trace("export", "tree", "tree/README.md")


OUTPUTS = {"a directory": ("tree", "Is a directory"), "below a file": ("tree/README.md/x", "Not a directory")}


@pytest.mark.slow
@pytest.mark.parametrize("command", [("get", "tree", "README.md"), ("manifest", "tree")], ids=["get", "manifest"])
@pytest.mark.parametrize(("output", "reason"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_an_output_that_cannot_be_written(
    cli: Cli, tree: Path, command: tuple[str, ...], output: str, reason: str
) -> None:
    cli.ok("ingest", tree)
    before = sorted(tree.rglob("*"))
    line = cli.refused_without_a_trace(*command, "-o", output)
    assert line == f"cannot write to '{output}': {reason}"
    assert sorted(tree.rglob("*")) == before
