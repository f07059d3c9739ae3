"""What a tree may hold: a link inside it is its content; what is not a file is refused, and never opened."""

import os
import socket
import stat
from pathlib import Path

import pytest

from integration.cli.harness import Cli, make_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make device files")


def test_a_link_inside_the_tree_is_recorded_as_what_it_leads_to(cli: Cli, tree: Path, tmp_path: Path) -> None:
    (tree / "run").symlink_to("bin/run.sh")
    (tree / "absolute").symlink_to(tree / "README.md")
    (tree / "latest").symlink_to("data")
    (tree / "twice").symlink_to("latest")
    cli.ok("ingest", tree)
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
def test_a_link_that_is_refused_is_named_with_its_reason(
    cli: Cli, tree: Path, tmp_path: Path, target: str, reason: str
) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "tree-of-another").mkdir()
    (tree / "link").symlink_to(target)
    line = cli.refused_without_a_trace("ingest", tree)
    assert line == (f"symbolic link 'link' -> '{target}' {reason}; remove it, or put what it leads to inside the tree")


def test_a_circle_of_links_is_refused(cli: Cli, tree: Path) -> None:
    (tree / "data/one").symlink_to("../two")
    (tree / "two").symlink_to("data/one")
    assert "'data/one' -> '../two' goes round in a circle" in cli.refused_without_a_trace("ingest", tree)


def test_a_link_back_to_an_ancestor_is_refused_however_deep_it_lies(cli: Cli, tree: Path) -> None:
    deep = tree / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "back").symlink_to("../..")
    assert "'a/b/c/back' -> '../..' leads back" in cli.refused_without_a_trace("ingest", tree)


def test_directories_that_lead_into_each_other_are_refused(cli: Cli, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "crossed", {"one/file": b"1", "two/file": b"2"})
    (tree / "one/two").symlink_to("../two")
    (tree / "two/one").symlink_to("../one")
    assert "'one/two/one' -> '../one' leads back" in cli.refused_without_a_trace("ingest", tree)


def test_what_a_link_leads_to_is_refused_by_its_own_kind(cli: Cli, tree: Path, tmp_path: Path) -> None:
    os.mkfifo(tree / "queue")
    (tree / "a-link").symlink_to("queue")
    assert cli.refused_without_a_trace("ingest", tree).startswith("'a-link' is a FIFO;")


def test_a_fifo_is_refused_and_not_waited_for(cli: Cli, tree: Path) -> None:
    os.mkfifo(tree / "data" / "queue")
    assert cli.refused_without_a_trace("ingest", tree) == (
        "'data/queue' is a FIFO; only files can be ingested, so remove it or leave it outside the tree"
    )


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
