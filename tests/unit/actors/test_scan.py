"""A scan lists a tree in one order whatever the file system's, and refuses what it cannot list."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.ingest.scan import LinkRefused, NotADirectory, SpecialFileRefused, TreeTooLarge, scan_directory

_MANY = 1_000_000


def _paths(tree: Path) -> list[str]:
    return [file.path for file in scan_directory(str(tree), files_max=_MANY)]


def test_files_come_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a.b", "\u00e9", "Z"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "b").chmod(0o755)
    found = scan_directory(str(tmp_path), files_max=_MANY)
    assert [file.path for file in found] == ["Z", "a.b", "a/z", "b", "\u00e9"]
    assert [file.size_bytes for file in found] == [1, 3, 3, 1, 2]
    assert [file.executable for file in found] == [False, False, False, True, False]
    assert all(file.source.root == str(tmp_path) for file in found)


@given(names=st.sets(st.text("abc.-", min_size=1, max_size=4).filter(lambda name: name.strip(".") != ""), max_size=8))
def test_the_order_is_that_of_bytes_whatever_the_names(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    tree = tmp_path_factory.mktemp("tree")
    for name in names:
        (tree / name).touch()
    assert _paths(tree) == sorted(names, key=os.fsencode)


def test_a_link_to_the_tree_itself_is_followed_once_at_the_top(tmp_path: Path) -> None:
    """The directory that is named may be a link; what it leads to is the tree."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").touch()
    (tmp_path / "link").symlink_to("real")
    assert _paths(tmp_path / "link") == ["f"]


def test_a_link_within_is_read_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"content")
    (tmp_path / "link").symlink_to("real")
    link = scan_directory(str(tmp_path), files_max=_MANY)[0]
    assert (link.path, link.source.path) == ("link", "real"), "the source itself is no link, and none is followed"


def test_a_link_through_a_file_leads_to_nothing_that_could_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file/below")
    with pytest.raises(LinkRefused) as refused:
        scan_directory(str(tmp_path), files_max=_MANY)
    assert (refused.value.path, refused.value.target) == ("link", "file/below")
    assert "remove it" in str(refused.value)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "absent"):
        with pytest.raises(NotADirectory, match="cannot be read as a directory"):
            scan_directory(str(tmp_path / path), files_max=_MANY)


def test_a_directory_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def deny(path: Path) -> object:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(NotADirectory, match=r"'locked/?' cannot be read as a directory: Permission denied"):
        scan_directory(str(tmp_path), files_max=_MANY)


def test_a_file_that_is_gone_before_it_was_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").touch()
    stat = Path.stat

    def vanish(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name == "here":
            path.unlink(missing_ok=True)
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", vanish)
    with pytest.raises(NotADirectory, match="here"):
        scan_directory(str(tmp_path), files_max=_MANY)


def test_as_many_files_as_the_limit_are_taken(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    assert len(scan_directory(str(tmp_path), files_max=3)) == 3
    with pytest.raises(TreeTooLarge, match="more than 2 files"):
        scan_directory(str(tmp_path), files_max=2)


def test_what_is_no_file_is_refused_by_its_kind(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecialFileRefused) as refused:
        scan_directory(str(tmp_path), files_max=_MANY)
    assert (refused.value.path, refused.value.kind) == ("pipe", "FIFO")
    assert "only files can be ingested" in str(refused.value)
