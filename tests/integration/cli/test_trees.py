"""What a tree may hold: links under each policy, empty directories; anything else is refused, and never opened."""

import os
import shlex
import socket
import stat
from pathlib import Path

import pytest

from artifactstore.ingest.refusals import REFUSED_MAX
from integration.cli.harness import Cli, make_tree

pytestmark = pytest.mark.slow

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make device files")


def test_a_link_that_is_followed_is_recorded_as_what_it_leads_to(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tree / "run").symlink_to("bin/run.sh")
    (tree / "absolute").symlink_to(tree / "README.md")
    (tree / "latest").symlink_to("data")
    (tree / "twice").symlink_to("latest")
    cli.ok("ingest", tree, "--links", "follow")
    files = {file["path"]: file for file in cli.json("package", "show", "tree")["file_list"]}
    assert set(files) >= {
        "run",
        "absolute",
        "data/report.json",
        "latest/report.json",
        "twice/report.json",
        "twice/empty",
    }
    assert files["run"]["executable"]
    assert files["run"]["content_address"] == files["bin/run.sh"]["content_address"]
    cli.ok("export", "tree", "out")
    exported = [tmp_path / "out" / path for path in files]
    assert all(path.is_file() and not path.is_symlink() for path in exported)
    assert not (tmp_path / "out" / "latest").is_symlink()
    # The copy holds no link and is the same tree.
    assert cli.json("ingest", "out")["tree_digest"] == cli.json("package", "show", "tree")["tree_digest"]


def read_links(directory: Path) -> dict[str, str]:
    """Every link below a directory, and what it says."""
    return {
        path.relative_to(directory).as_posix(): os.readlink(path)  # noqa: PTH115
        for path in directory.rglob("*")
        if path.is_symlink()
    }


def plant_links(tree: Path) -> dict[str, str]:
    """Links that stay inside, by themselves and through each other, and that lead to nothing or in a circle."""
    (tree / "x" / "y").mkdir(parents=True)
    for path, target in {
        "run": "bin/run.sh",
        "data/up": "../bin",
        "x/y/up": "../..",
        "through": "x/y/up/data",
        "gone": "missing/file",
        "loop": "loop",
    }.items():
        (tree / path).symlink_to(target)
    return read_links(tree)


def test_links_and_empty_directories_are_kept_and_restored(cli: Cli, tree: Path, tmp_path: Path) -> None:
    links = plant_links(tree)
    (tree / "empty").mkdir()
    ingested = cli.json("ingest", tree)
    assert (ingested["files"], ingested["links"], ingested["directories"]) == (5, 6, 1)
    assert cli.ok("export", "tree", "out").text == "wrote 5 files, 6 links, 1 empty directory, 51 B, to out\n"
    assert read_links(tmp_path / "out") == links
    assert list((tmp_path / "out" / "empty").iterdir()) == []
    assert cli.json("ingest", "out")["tree_digest"] == ingested["tree_digest"]
    cli.ok("verify")


def test_a_person_and_a_script_are_shown_links_and_directories(cli: Cli, tree: Path) -> None:
    (tree / "run").symlink_to("bin/run.sh")
    (tree / "empty").mkdir()
    shown = cli.ok("ingest", tree).text
    assert "links            1\ndirectories      1 empty\n" in shown
    assert "  7 entries  " in cli.ok("package", "list").text
    lines = cli.ok("package", "show", "tree").text.splitlines()
    assert [line.split() for line in lines if line.startswith(("l ", "d "))] == [
        ["d", "empty", "directory", "empty"],
        ["l", "symbolic", "link", "run", "->", "bin/run.sh"],
    ]
    files = {file["path"]: file for file in cli.json("package", "show", "tree")["file_list"]}
    assert (files["run"]["kind"], files["run"]["target"]) == ("link", "bin/run.sh")
    assert (files["empty"]["kind"], files["empty"]["target"]) == ("directory", "")
    assert files["README.md"]["kind"] == "file"


def test_links_are_followed_to_a_file(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tree / "run").symlink_to("latest/run.sh")
    (tree / "latest").symlink_to("bin")
    cli.ok("ingest", tree)
    script = (tree / "bin/run.sh").read_bytes()
    assert cli.ok("get", "tree", "run").out == cli.ok("get", "tree", "latest/run.sh").out == script
    cli.ok("get", "tree", "run", "-o", "run.sh")
    assert (tmp_path / "run.sh").stat().st_mode & 0o100


def test_what_has_no_bytes_cannot_be_got(cli: Cli, tree: Path) -> None:
    (tree / "gone").symlink_to("bin/gone")
    (tree / "loop").symlink_to("loop")
    (tree / "empty").mkdir()
    (tree / "commands").symlink_to("bin")
    package = cli.json("ingest", tree)["package_id"]
    for path, target in {"gone": "bin/gone", "loop": "loop"}.items():
        line = cli.refused_without_a_trace("get", "tree", path)
        told = f"is a symbolic link to '{target}', which leads to nothing in the package"
        assert line == f"'{path}' in package {package} {told}"
    for path, directory in {"empty": "empty", "bin": "bin", "commands": "bin"}.items():
        line = cli.refused_without_a_trace("get", "tree", path)
        told = f"is a directory, not a file; use `artifactstore export {package}:{directory} DIR` for it"
        assert line == f"'{directory}' in package {package} {told}"


ESCAPING = {"m": "x/y/d/../etc", "n": "../outside", "o": "/etc/hostname", "p": "n/file"}


def test_every_link_that_leaves_the_tree_is_named_at_once(cli: Cli, tree: Path) -> None:
    """`m` leaves it only through `x/y/d`, and that one stays inside."""
    (tree / "x" / "y").mkdir(parents=True)
    for path, target in {**ESCAPING, "x/y/d": "../..", "fine": "bin"}.items():
        (tree / path).symlink_to(target)
    line, notes = cli.refused_entries("ingest", tree)
    assert line == f"4 entries of '{tree}' cannot be stored; leave links out with --links skip or --exclude"
    named = [f"'{path}' -> '{target}'" for path, target in ESCAPING.items()]
    assert notes == [
        f"{named[0]} leaves the tree",
        f"{named[1]} leaves the tree",
        f"{named[2]} is absolute; make it relative",
        f"{named[3]} leaves the tree",
        "to leave all of them out: --exclude /m --exclude /n --exclude /o --exclude /p",
    ]


def test_links_that_leave_the_tree_are_left_out_as_the_error_says(cli: Cli, tree: Path) -> None:
    """`--exclude` keeps the other links, and `--links skip` leaves out all of them."""
    (tree / "out").symlink_to("/etc")
    (tree / "run").symlink_to("bin/run.sh")
    assert cli.refused_without_a_trace("ingest", tree).endswith("--links skip or --exclude: --exclude /out")
    excluded = cli.json("ingest", tree, "--exclude", "/out")
    assert (excluded["links"], excluded["excluded"]) == (1, ["out"])
    skipped = cli.json("ingest", tree, "--links", "skip")
    assert (skipped["links"], skipped["excluded"]) == (0, ["out", "run"])


def test_an_error_names_a_limited_number_of_entries_and_says_so(cli: Cli, tree: Path) -> None:
    for number in range(REFUSED_MAX - 1):
        (tree / f"{number:04}").symlink_to("/etc")
    assert cli.refused_entries("ingest", tree)[0].startswith(f"{REFUSED_MAX - 1} entries of ")
    for number in range(REFUSED_MAX - 1, REFUSED_MAX + 1):
        (tree / f"{number:04}").symlink_to("/etc")
    line, notes = cli.refused_entries("ingest", tree)
    assert line.startswith(f"{REFUSED_MAX} or more entries of ")
    assert notes == [f"'{number:04}' -> '/etc' is absolute; make it relative" for number in range(REFUSED_MAX)]


def test_links_can_be_refused(cli: Cli, tree: Path) -> None:
    links = plant_links(tree)
    line, notes = cli.refused_entries("ingest", tree, "--links", "refuse")
    assert line.startswith("6 entries of ")
    assert notes[:-1] == [f"'{path}' -> '{links[path]}' is a link" for path in sorted(links)]


def test_links_can_be_left_out(cli: Cli, tree: Path, tmp_path: Path) -> None:
    plain = cli.json("ingest", tree, "--name", "plain")
    (tree / "run").symlink_to("bin/run.sh")
    (tree / "data" / "out").symlink_to("/etc/hostname")
    skipped = cli.json("ingest", tree, "--links", "skip")
    assert skipped["excluded"] == ["data/out", "run"]
    assert skipped["tree_digest"] == plain["tree_digest"]
    cli.ok("export", "tree", "out")
    assert read_links(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("policy", "found"),
    [("keep", {"run": "link"}), ("follow", {"run": "file"}), ("skip", {}), ("refuse", None)],
)
def test_a_directory_is_added_under_each_policy(
    cli: Cli, tmp_path: Path, policy: str, found: dict[str, str] | None
) -> None:
    tree = make_tree(tmp_path / "small", {"a": b"a"})
    (tree / "run").symlink_to("a")
    cli.ok("package", "create", "open")
    if found is None:
        assert "'run' -> 'a' is a link" in cli.refused_without_a_trace(
            "package", "add", "open", tree, "--links", policy
        )
        return
    for _again in range(2):
        added = cli.json("package", "add", "open", tree, "--links", policy)
        assert added["links"] == list(found.values()).count("link")
    kinds = {file["path"]: file["kind"] for file in cli.json("package", "show", "open")["file_list"]}
    assert kinds == {"a": "file", **found}


def test_the_directory_itself_may_be_a_link(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    assert cli.json("ingest", "link")["files"] == 5


LINKS = {
    "out of the tree": ("../outside", "leaves the tree"),
    "out of the tree by name": ("/etc/hostname", "leaves the tree"),
    "to the directory above the tree": ("..", "leaves the tree"),
    "to a tree whose name begins alike": ("../tree-of-another", "leaves the tree"),
    "to nothing": ("missing", "leads to nothing"),
    "through nothing": ("missing/README.md", "leads to nothing"),
    "to itself": ("link", "goes round in a circle"),
    "to the tree": (".", "leads back to a directory above itself"),
}


@pytest.mark.parametrize(("target", "reason"), LINKS.values(), ids=LINKS.keys())
def test_a_link_that_cannot_be_followed_is_named_with_its_reason(
    cli: Cli, tree: Path, tmp_path: Path, target: str, reason: str
) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "tree-of-another").mkdir()
    (tree / "link").symlink_to(target)
    line = cli.refused_without_a_trace("ingest", tree, "--links", "follow")
    assert line == (
        f"'{tree}' cannot be stored: 'link' -> '{target}' {reason}; "
        "leave links out with --links skip or --exclude: --exclude /link"
    )


def test_a_circle_of_links_is_refused(cli: Cli, tree: Path) -> None:
    (tree / "data/one").symlink_to("../two")
    (tree / "two").symlink_to("data/one")
    _line, notes = cli.refused_entries("ingest", tree, "--links", "follow")
    assert notes == [
        "'data/one' -> '../two' goes round in a circle",
        "'two' -> 'data/one' goes round in a circle",
        "to leave all of them out: --exclude /data/one --exclude /two",
    ]


def test_a_link_back_to_an_ancestor_is_refused_however_deep_it_lies(cli: Cli, tree: Path) -> None:
    deep = tree / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "back").symlink_to("../..")
    assert "'a/b/c/back' -> '../..' leads back" in cli.refused_without_a_trace("ingest", tree, "--links", "follow")


def test_directories_that_lead_into_each_other_are_refused(cli: Cli, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "crossed", {"one/file": b"1", "two/file": b"2"})
    (tree / "one/two").symlink_to("../two")
    (tree / "two/one").symlink_to("../one")
    _line, notes = cli.refused_entries("ingest", tree, "--links", "follow")
    assert notes == [
        "'one/two/one' -> '../one' leads back to a directory above itself",
        "'two/one/two' -> '../two' leads back to a directory above itself",
        "to leave all of them out: --exclude /one/two/one --exclude /two/one/two",
    ]


def test_what_a_link_leads_to_is_refused_by_its_own_kind(cli: Cli, tree: Path, tmp_path: Path) -> None:
    os.mkfifo(tree / "queue")
    (tree / "a-link").symlink_to("queue")
    line, notes = cli.refused_entries("ingest", tree, "--links", "follow")
    assert line == f"2 entries of '{tree}' cannot be stored; leave files out with --exclude"
    assert notes[:2] == ["'a-link' -> 'queue' is a FIFO", "'queue' is a FIFO"]
    assert cli.json("ingest", tree, "--links", "follow", "--exclude", "a-link", "--exclude", "queue")["files"] == 5


ODD_NAMES = ("a b", "*", "[x", "!keep", "#1", "it's", 'so "it" is', "end  ", "$HOME", "-x", "tab\there", "back\\slash")


def test_the_options_in_an_error_leave_out_what_it_names_when_they_are_pasted(cli: Cli, tree: Path) -> None:
    for name in ODD_NAMES[:8]:
        os.mkfifo(tree / name)
    (tree / "xa").write_text("similar to some rules")
    _line, notes = cli.refused_entries("ingest", tree, "--prefix", "deep/er")
    pasted = shlex.split(notes[-1].removeprefix("to leave all of them out: "))
    assert cli.json("ingest", tree, *pasted)["excluded"] == sorted(ODD_NAMES[:8], key=os.fsencode)
    for name in ODD_NAMES[:8]:
        (tree / name).unlink()
    for name in ODD_NAMES[8:]:
        os.mkfifo(tree / name)
        line = cli.refused_without_a_trace("ingest", tree)
        assert cli.json("ingest", tree, *shlex.split(line.partition("--exclude: ")[2]))["excluded"] == [name]
        (tree / name).unlink()


def test_a_fifo_is_refused_and_not_waited_for(cli: Cli, tree: Path) -> None:
    os.mkfifo(tree / "data" / "queue")
    assert cli.refused_without_a_trace("ingest", tree) == (
        f"'{tree}' cannot be stored: 'data/queue' is a FIFO; leave files out with --exclude: --exclude /data/queue"
    )
    assert cli.json("ingest", tree, "--exclude", "/data/queue")["excluded"] == ["data/queue"]


def test_a_socket_is_refused(cli: Cli, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("ear")
        assert "'ear' is a socket;" in cli.refused_without_a_trace("ingest", tree)


@needs_root
@pytest.mark.parametrize(("kind", "name"), [(stat.S_IFCHR, "character device"), (stat.S_IFBLK, "block device")])
def test_a_device_is_refused(cli: Cli, tree: Path, kind: int, name: str) -> None:
    # No driver answers to major 240: opening it by mistake would fail, not act.
    os.mknod(tree / "device", kind | 0o600, os.makedev(240, 99))
    assert f"'device' is a {name};" in cli.refused_without_a_trace("ingest", tree)


@pytest.mark.parametrize("kind", ["FIFO", "directory link", "nothing"])
def test_one_file_that_is_none_is_refused_by_package_add(cli: Cli, tmp_path: Path, kind: str) -> None:
    cli.ok("package", "create", "open")
    given = tmp_path / "given"
    if kind == "FIFO":
        os.mkfifo(given)
    elif kind == "directory link":
        given.symlink_to(tmp_path / "missing")
    line = cli.refused_without_a_trace("package", "add", "open", given)
    assert str(given) in line


def test_one_link_given_by_name_is_refused_and_says_so(cli: Cli, tree: Path, tmp_path: Path) -> None:
    cli.ok("package", "create", "open")
    (tmp_path / "link").symlink_to(tree / "README.md")
    assert "it is a symbolic link" in cli.refused_without_a_trace("package", "add", "open", tmp_path / "link")


def test_what_is_left_out_is_named_and_stays_out(cli: Cli, tmp_path: Path) -> None:
    tree = tmp_path / "build"
    (tree / "obj").mkdir(parents=True)
    for path in ("a.txt", "a.tmp", "obj/a.o", "obj/keep.o"):
        (tree / path).write_text(path)
    (tree / ".artifactignore").write_text("*.tmp\n*.o\n")
    assert cli.ok("ingest", tree).text.endswith("left out         3 paths\n  a.tmp\n  obj/a.o\n  obj/keep.o\n")
    taken = cli.json("ingest", tree, "--name", "kept", "--include", "keep.o", "--exclude", "/.artifactignore")
    assert (taken["files"], taken["excluded"]) == (2, [".artifactignore", "a.tmp", "obj/a.o"])
    assert cli.json("ingest", tree, "--no-ignore-files", "--max-file-size", "6")["excluded"] == [
        ".artifactignore",
        "obj/a.o",
        "obj/keep.o",
    ]
    cli.ok("package", "create", "open")
    added = cli.ok("package", "add", "open", tree, "--exclude", "a.txt", "--exclude", "obj/")
    assert "left out 3 paths\n  a.tmp\n  a.txt\n  obj\n" in added.text
    (tree / "obj" / ".artifactignore").write_bytes(b"\xff")
    assert "'obj/.artifactignore' cannot be used: it is not UTF-8" in cli.refused_without_a_trace("ingest", tree)
    assert "is no size" in cli.run("ingest", tree, "--max-file-size", "1X").err
    for option in (("--exclude", "b"), ("--skip-unreadable",)):
        refused = cli.run("package", "add", "open", tree / "a.txt", *option)
        assert refused.code == 2
        assert "--exclude-caches and --skip-unreadable are for directories" in refused.err
    cli.ok("ingest", tree, "--exclude", "obj", "--exclude", "\udcff", "--max-file-size", "9000T")


def test_a_key_means_one_selection(cli: Cli, tmp_path: Path) -> None:
    tree = tmp_path / "build"
    tree.mkdir()
    for path in ("a.txt", "k.pem"):
        (tree / path).write_text(path)
    ingest = ("ingest", tree, "--idempotency-key", "K", "--json")
    first = cli.ok(*ingest).json
    assert "repeat that command exactly" in cli.refused_without_a_trace(*ingest, "--exclude", "*.pem")
    assert cli.ok(*ingest).json == first
    assert cli.ok(*ingest, "--exclude", "*.tmp").json == first
