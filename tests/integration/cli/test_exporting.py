"""Export as a user has it: killed at any step and continued by the same command, and what could not be kept is said."""

import errno
import io
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from artifactstore_protocols.archives import TAR_END
from integration.cli.harness import Cli
from odd_mount import OddMount
from stored_objects import object_in, overwrite

pytestmark = pytest.mark.slow

FILES = {f"dir {number % 3}/file {number}": b"content %d" % number for number in range(9)}


@pytest.fixture
def files(cli: Cli, tmp_path: Path) -> dict[str, bytes]:
    """A package named `p`."""
    for path, content in FILES.items():
        (tmp_path / "files" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / path).write_bytes(content)
    cli.ok("ingest", tmp_path / "files", "--name", "p")
    return FILES


def _found(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_name_of_the_target_says_which_archive_it_is(cli: Cli, files: dict[str, bytes], tmp_path: Path) -> None:
    cli.ok("export", "p", "p.tar", "-q")
    with tarfile.open(tmp_path / "p.tar") as archive:
        assert len([member for member in archive if member.isfile()]) == len(files)
    cli.ok("export", "p", "P.ZIP", "-q")
    cli.ok("export", "p", "same", "--format", "zip", "-q")
    assert (tmp_path / "P.ZIP").read_bytes() == (tmp_path / "same").read_bytes()
    (tmp_path / "d.tar").mkdir()
    cli.ok("export", "p", "d.tar", "-q")
    assert _found(tmp_path / "d.tar") == files


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("p", "p.tar.gz"), "export PACKAGE - --format tar | gzip > p.tar.gz"),
        (("p", "a b.tgz", "--format", "tar"), "gzip > 'a b.tgz'"),
        (("p", "-"), "add --format tar or --format zip, or write ./-"),
        (("p", "p.tar", "--update"), "--update: it is for a directory"),
        (("p", "p.zip", "--keep-going"), "--keep-going: it is for a directory"),
    ],
)
def test_an_archive_that_cannot_be_written_like_this_is_refused(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    ran = cli.run("export", *arguments)
    assert (ran.code, ran.out) == (2, b"")
    assert told in " ".join(ran.err.replace("│", " ").split())
    assert not (tmp_path / arguments[1]).exists()


def test_links_that_lead_out_are_refused_skipped_or_followed(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tree / "docs").mkdir()
    (tree / "docs" / "readme").symlink_to("../README.md")
    (tree / "docs" / "a").touch()
    cli.ok("ingest", tree, "--name", "p")
    told = "links lead out of what is exported: docs/readme -> ../README.md; export a directory above, or choose "
    for target in ("out", "out.tar"):
        assert cli.refused("export", "p:docs", target) == f"{told}`--links follow` or `--links skip`"
    assert cli.run("export", "p:docs", "out", "--keep-going").code == 3
    cli.ok("export", "p:docs", "skipped", "--links", "skip")
    assert _found(tmp_path / "skipped") == {"a": b""}
    cli.ok("export", "p:docs", "followed", "--links", "follow")
    assert _found(tmp_path / "followed") == {"a": b"", "readme": (tree / "README.md").read_bytes()}
    assert not (tmp_path / "followed" / "readme").is_symlink()
    cli.ok("export", "p:docs", "followed.tar", "--links", "follow")
    with tarfile.open(tmp_path / "followed.tar") as archive:
        assert {member.name: member.isfile() for member in archive} == {"a": True, "readme": True}
    assert "invalid --links 'refuse': there are links: docs/readme" in cli.refused(
        "export", "p", "no", "--links", "refuse"
    )


@pytest.mark.usefixtures("files")
def test_an_error_about_a_parameter_names_its_option(cli: Cli, tmp_path: Path) -> None:
    assert cli.refused("export", "p", "out", "--strip-components", "9").startswith("invalid --strip-components '9': ")
    (tmp_path / "none").touch()
    assert cli.refused("export", "p", "out", "--files-from", "none").startswith("invalid --files-from 'none': ")


# The command line in a process that kills itself at its n-th call of a function that names a directory by fd. Where it
# is to die at a hard link or after one, the C library has no renames that replace nothing.
_DYING = """
import itertools, os, signal, sys
from artifactstore.cli.app import run
from artifactstore.package_export import renaming

call, number, before = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "before"
if call in {"link", "unlink"}:
    renaming._renameat2 = lambda: None
owner = renaming if call == "rename_new" else os
real, calls = getattr(owner, call), itertools.count(1)

def deadly(*arguments, **options):
    ours = {"dir_fd", "dst_dir_fd"} & options.keys() and next(calls) == number
    if ours and before:
        os.kill(os.getpid(), signal.SIGKILL)
    done = real(*arguments, **options)
    if ours and not before:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

setattr(owner, call, deadly)
sys.exit(run(sys.argv[4:]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("mkdir", 1),
        ("mkdir", 3),
        ("open", 2),
        ("rename_new", 1),
        ("rename_new", 5),
        ("link", 1),
        ("link", 5),
        ("unlink", 4),
        ("rmdir", 1),
    ],
)
def test_an_export_that_is_killed_is_continued_by_the_same_command(
    cli: Cli, files: dict[str, bytes], tmp_path: Path, call: str, number: int, when: str
) -> None:
    out = tmp_path / "out"
    ran = subprocess.run(
        [sys.executable, "-c", _DYING, call, str(number), when, "export", "p", str(out)],
        check=False,
        capture_output=True,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGKILL, b"", b"")
    complete = {path: content for path, content in _found(out).items() if not path.startswith(".")}
    assert complete.items() <= files.items(), "a real name has all of its bytes"
    if (call, when) == ("rmdir", "after"):
        assert complete == files
        return
    report = cli.json("export", "p", out)
    assert (report["files"], report["unchanged"]) == (len(files), len(complete))
    assert _found(out) == files


def test_what_a_target_cannot_keep_is_said(
    cli: Cli, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files" / "run").write_bytes(b"#!")
    (tmp_path / "files" / "run").chmod(0o755)
    cli.ok("ingest", tmp_path / "files", "--name", "q")
    mount = OddMount(tmp_path / "out", monkeypatch)
    mount.modes = False
    mount.failing["fchmod"] = errno.EPERM
    mount.refusal = lambda name: errno.EINVAL if name == b"file 4" else None
    ran = cli.run("export", "q", "out")
    assert (ran.code, ran.err) == (3, "")
    assert ran.text.splitlines() == [
        f"wrote {len(files)} files, {sum(map(len, files.values())) - len(b'content 4') + len(b'#!')} B, to out",
        "the target's file system has limits: permissions are not kept",
        "not kept: the executable bit of 1 file",
        "not written: 1 path",
        "  dir 1/file 4: the target does not take the name: Invalid argument",
    ]
    ran = cli.run("export", "q", "out", "--json")
    assert (ran.code, ran.err) == (3, "")
    assert ran.json["refused"] == [
        {"path": "dir 1/file 4", "reason": "the target does not take the name: Invalid argument"}
    ]
    assert (ran.json["unchanged"], ran.json["limits"], ran.json["wrong_executable_bits"]) == (9, ["modes"], 1)


def test_an_interrupted_export_says_what_is_true(cli: Cli, files: dict[str, bytes], tmp_path: Path) -> None:
    """Its message promises that the same command continues, and it does."""
    interrupting = _DYING.replace("SIGKILL", "SIGINT")
    ran = subprocess.run(
        [sys.executable, "-c", interrupting, "rename_new", "3", "before", "export", "p", str(tmp_path / "out")],
        check=False,
        capture_output=True,
    )
    assert (ran.returncode, ran.stdout) == (130, b"")
    assert b"run the same command again to continue" in ran.stderr
    assert cli.json("export", "p", "out")["files"] == len(files)
    assert _found(tmp_path / "out") == files


# Parts of packages, updates, archives and copies.


def test_a_subtree_and_a_list_of_paths(
    cli: Cli, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.ok("export", "p:dir 1/", "part").text == "wrote 3 files, 27 B, to part\n"
    assert _found(tmp_path / "part") == {
        path.removeprefix("dir 1/"): content for path, content in files.items() if path.startswith("dir 1/")
    }
    (tmp_path / "list").write_bytes(b"dir 0\r\n\ndir 1/file 4\n")
    cli.ok("export", "p", "listed", "--files-from", "list", "--strip-components", "1")
    assert sorted(_found(tmp_path / "listed")) == ["file 0", "file 3", "file 4", "file 6"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"nope\ndir 0\ndir 9/x\n")))
    ran = cli.run("export", "p", "unknown", "--files-from", "-")
    assert (ran.code, "has no nope, dir 9/x; `artifactstore tree" in ran.err) == (1, True)
    assert not (tmp_path / "unknown").exists()


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"\xff", "not UTF-8"), (b"\n", "at least one path")]
)
def test_a_list_that_cannot_be_used_is_refused(
    cli: Cli, files: dict[str, bytes], tmp_path: Path, content: bytes | None, reason: str
) -> None:
    assert files
    if content is not None:
        (tmp_path / "list").write_bytes(content)
    ran = cli.run("export", "p", "out", "--files-from", "list")
    assert (ran.code != 0, reason in ran.err) == (True, True)
    assert not (tmp_path / "out").exists()


def test_an_update_says_what_it_did(cli: Cli, files: dict[str, bytes], tmp_path: Path) -> None:
    cli.ok("export", "p", "out")
    ran = cli.run("export", "p", "out")
    assert (ran.code, "add --update" in ran.err) == (1, True)
    (tmp_path / "out" / "dir 0" / "file 0").write_bytes(b"edited")
    (tmp_path / "out" / "dir 0" / "file 3").unlink()
    (tmp_path / "out" / "notes").write_bytes(b"mine")
    assert cli.ok("export", "p", "out", "--update").text.splitlines() == [
        "wrote 9 files, 81 B, to out",
        "7 of them unchanged, 1 replaced, 1 new",
        "not in the package, and kept: notes",
    ]
    assert _found(tmp_path / "out") == {**files, "notes": b"mine"}


def test_damage_is_listed_with_its_own_exit_code(cli: Cli, files: dict[str, bytes], tmp_path: Path) -> None:
    (address,) = [each["content_address"] for each in cli.json("package", "show", "p")["file_list"][:1]]
    overwrite(object_in(cli.objects, address), b"!")
    ran = cli.run("export", "p", "strict")
    assert (ran.code, "is damaged" in ran.err) == (1, True)
    ran = cli.run("export", "p", "out", "--keep-going")
    assert (ran.code, ran.err) == (3, "")
    assert ran.text.splitlines()[1] == "damaged or missing: 1 file"
    assert len(_found(tmp_path / "out")) == len(files) - 1
    assert len(cli.run("export", "p", "again", "--keep-going", "--json").json["unreadable"]) == 1
    ran = cli.run("export", "p", "p.tar", "--format", "tar")
    assert (ran.code, (tmp_path / "p.tar").exists()) == (1, False)
    ran = cli.run("export", "p", "-", "--format", "tar")
    assert (ran.code, ran.out.endswith(TAR_END), "is damaged" in ran.err) == (1, False, True)


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_an_archive_is_the_same_in_a_file_and_on_stdout(
    cli: Cli, files: dict[str, bytes], tmp_path: Path, form: str
) -> None:
    ran = cli.ok("export", "p", f"p.{form}", "--format", form, "--json")
    content = (tmp_path / f"p.{form}").read_bytes()
    assert ran.json == {"file": f"p.{form}", "format": form, "bytes": len(content), "vanished": []}
    assert cli.ok("export", "p", "-", "--format", form).out == content
    assert cli.ok("export", "p", "again", "--format", form).text.startswith("wrote again, ")
    assert (tmp_path / "again").read_bytes() == content
    if form == "tar":
        shutil.unpack_archive(tmp_path / "p.tar", tmp_path / "unpacked", filter="data")
    else:
        shutil.unpack_archive(tmp_path / "p.zip", tmp_path / "unpacked")
    assert _found(tmp_path / "unpacked") == files


def test_paths_without_a_name_are_named_beside_an_archive(cli: Cli, files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "files" / "top").write_bytes(b"top")
    cli.ok("ingest", tmp_path / "files", "--name", "q")
    ran = cli.run("export", "q", "-", "--format", "tar", "--strip-components", "1")
    assert (ran.code, ran.err) == (0, "artifactstore: not written, since no name is left: 1 path: top\n")
    with tarfile.open(fileobj=io.BytesIO(ran.out)) as archive:
        assert sorted(archive.getnames()) == sorted(path.partition("/")[2] for path in files)


@pytest.mark.parametrize(
    "options",
    [
        ("out", "--format", "tar", "--update"),
        ("out", "--format", "zip", "--keep-going"),
        ("-", "--format", "tar", "--json"),
        ("out", "--format", "rar"),
        ("out", "--strip-components", "-1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    cli: Cli, files: dict[str, bytes], tmp_path: Path, options: tuple[str, ...]
) -> None:
    assert files
    assert cli.run("export", "p", *options).code == 2
    assert not (tmp_path / "out").exists()


def test_an_archive_is_not_for_a_terminal(cli: Cli, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert files
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ran = cli.run("export", "p", "-", "--format", "zip")
    assert (ran.code, "not for a terminal" in ran.err, ran.out) == (2, True, b"")


def test_a_package_is_copied_to_another_store(cli: Cli, files: dict[str, bytes], tmp_path: Path) -> None:
    said = cli.ok("package", "copy", "p", "--to", "elsewhere").text
    assert f"copied           {len(files)} objects, 81 B\n" in said
    again = cli.json("package", "copy", "p", "--to", "elsewhere")
    assert (again["new_objects"], again["files"]) == (0, len(files))
    assert cli.json("package", "show", "p", "--store", "elsewhere")["tree_digest"] == again["tree_digest"]
    cli.ok("export", "p", "out", "--store", "elsewhere")
    assert _found(tmp_path / "out") == files
