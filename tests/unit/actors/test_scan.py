"""A scan lists a tree in one order whatever the file system's, and refuses what it cannot list, for its real reason."""

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.errors import (
    EntriesRefused,
    PathUnusable,
    SourceChanged,
    TreeTooLarge,
)
from artifactstore.ingest.own_files import OwnFiles, StorePlaces
from artifactstore.ingest.scan import scan_directory
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.paths import PathRefused

_MANY = 1_000_000


def _paths(tree: Path) -> list[str]:
    """The files of a tree whose links are followed."""
    return [file.path for file in scan_directory(str(tree), files_max=_MANY, links=LinkPolicy.FOLLOW).files]


def test_files_come_in_the_order_of_trees(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a.b", "\u00e9", "Z"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "b").chmod(0o755)
    scan = scan_directory(str(tmp_path), files_max=_MANY)
    found = scan.files
    assert [file.path for file in found] == ["Z", "a/z", "a.b", "b", "\u00e9"]
    assert [file.size_bytes for file in found] == [1, 3, 3, 1, 2]
    assert [file.executable for file in found] == [False, False, False, True, False]
    assert scan.root == str(tmp_path)


@given(names=st.sets(st.text("abc.-", min_size=1, max_size=4).filter(lambda name: name.strip(".") != ""), max_size=8))
def test_names_in_a_directory_are_in_the_order_of_bytes(
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
    link = scan_directory(str(tmp_path), files_max=_MANY, links=LinkPolicy.FOLLOW).files[0]
    assert (link.path, link.source) == ("link", "real"), "the source itself is no link, and none is followed"


def _chain(tree: Path) -> None:
    """More links in a row than the system follows, and no circle."""
    (tree / "file").touch()
    (tree / "0").symlink_to("file")
    for number in range(1, 100):
        (tree / f"{number}").symlink_to(f"{number - 1}")
    (tree / "link").symlink_to("99")


def _circle(tree: Path) -> None:
    (tree / "link").symlink_to("back")
    (tree / "back").symlink_to("link")


def _through_a_file(tree: Path) -> None:
    (tree / "file").touch()
    (tree / "link").symlink_to("file/below")


LINKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "leads to nothing": (lambda tree: (tree / "link").symlink_to("nowhere"), "nowhere"),
    "leads through something that is not a directory": (_through_a_file, "file/below"),
    "cannot be followed: File name too long": (lambda tree: (tree / "link").symlink_to("x" * 300), "x" * 300),
    "leaves the tree": (lambda tree: (tree / "link").symlink_to("/etc/hostname"), "/etc/hostname"),
    "leads back to a directory above itself": (lambda tree: (tree / "link").symlink_to("."), "."),
}


@pytest.mark.parametrize("reason", LINKS)
def test_a_link_is_refused_for_its_real_reason(tmp_path: Path, reason: str) -> None:
    make, target = LINKS[reason]
    make(tmp_path)
    with pytest.raises(EntriesRefused) as refused:
        _paths(tmp_path)
    assert refused.value.entries == (("link", "link", f"-> {target!r} {reason}"),)
    assert str(refused.value).endswith(
        f"'link' -> {target!r} {reason}; leave links out with --links skip or --exclude: --exclude /link"
    )


@pytest.mark.parametrize(
    ("make", "reason"), [(_chain, "leads through too many links"), (_circle, "goes round in a circle")]
)
def test_many_links_in_a_row_are_no_circle(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(tmp_path)
    with pytest.raises(EntriesRefused) as refused:
        _paths(tmp_path)
    assert refused.value.entries
    assert all(link.reason.endswith(reason) for link in refused.value.entries)


def test_each_of_many_links_in_a_row_is_followed_only_as_far_as_the_system_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0").symlink_to("file")
    for number in range(1, 300):
        (tmp_path / f"{number}").symlink_to(f"{number - 1}")
    read = list[object]()
    readlink = os.readlink

    def counted(path: bytes) -> bytes:
        read.append(path)
        return readlink(path)

    monkeypatch.setattr(os, "readlink", counted)
    with pytest.raises(EntriesRefused):
        _paths(tmp_path)
    assert len(read) < 300 * 50, "to follow every link to its end takes 300 * 150"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_link_that_may_not_be_followed_is_no_circle() -> None:
    tree = Path(tempfile.mkdtemp())  # pytest's own directories are closed to other users
    closed = Path(tempfile.mkdtemp())
    try:
        tree.chmod(0o755)
        (closed / "below").mkdir()
        (tree / "link").symlink_to(closed / "below")
        os.seteuid(65534)
        with pytest.raises(EntriesRefused, match="cannot be followed: Permission denied"):
            _paths(tree)
    finally:
        os.seteuid(0)
        rmtree(tree)
        rmtree(closed)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "absent"):
        with pytest.raises(PathUnusable, match="cannot be ingested: "):
            scan_directory(str(tmp_path / path), files_max=_MANY)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something done after a directory was listed, and before anything in it is looked at."""

    def arrange(act: Callable[[], object]) -> None:
        scandir = os.scandir

        @contextmanager
        def listed(path: bytes) -> Generator[Iterator[os.DirEntry[bytes]]]:
            monkeypatch.setattr(os, "scandir", scandir)
            with scandir(path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            act()
            yield iter(entries)

        monkeypatch.setattr(os, "scandir", listed)

    return arrange


def _becomes_a_file(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.touch()


def _vanishes(path: Path) -> None:
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _leads_to_b(path: Path) -> None:
    path.unlink()
    path.symlink_to("b")


def _is_linked(path: Path) -> None:
    path.symlink_to("a")


@pytest.mark.parametrize("make", [_becomes_a_file, Path.mkdir, _is_linked], ids=["file", "directory", "link"])
def test_what_vanishes_after_it_was_listed_is_a_change(
    tmp_path: Path, between: Callable[[Callable[[], object]], None], make: Callable[[Path], None]
) -> None:
    (tmp_path / "a").touch()
    make(tmp_path / "z")
    between(lambda: _vanishes(tmp_path / "z"))
    with pytest.raises(SourceChanged, match="'z' changed while it was read: it is gone"):
        _paths(tmp_path)


@pytest.mark.parametrize("instead", ["nothing", "a file"])
def test_a_directory_that_is_none_any_more_when_it_is_listed_is_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    (tmp_path / "d").mkdir()
    scandir = os.scandir

    def late(path: bytes) -> object:
        if path.endswith(b"/d"):
            (tmp_path / "d").rmdir()
            if instead == "a file":
                (tmp_path / "d").touch()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", late)
    with pytest.raises(SourceChanged, match="'d' changed while it was read: it was a directory and is gone"):
        _paths(tmp_path)


@pytest.mark.parametrize(
    ("call", "act", "reason"),
    [
        ("readlink", _becomes_a_file, "it was a link and is something else"),
        ("readlink", Path.unlink, "it is gone"),
        ("stat", _leads_to_b, "the link leads elsewhere now"),
    ],
)
def test_a_link_that_is_another_before_it_was_read_is_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, act: Callable[[Path], object], reason: str
) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("a")
    real = getattr(os, call)

    def raced(path: object, **options: object) -> object:
        if path != os.fsencode(tmp_path / "link"):
            return real(path, **options)
        monkeypatch.undo()
        before = real(path) if call == "stat" else None
        act(tmp_path / "link")
        return before or real(path)

    monkeypatch.setattr(os, call, raced)
    with pytest.raises(SourceChanged) as changed:
        _paths(tmp_path)
    assert (changed.value.path, changed.value.reason) == ("link", reason)


def test_what_the_system_says_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def deny(path: bytes) -> object:
        if path.endswith(b"locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    (tmp_path / "open").mkdir()
    with pytest.raises(EntriesRefused, match=r"'locked' cannot be listed: Permission denied; .*--skip-unreadable"):
        scan_directory(str(tmp_path), files_max=_MANY)
    scan = scan_directory(str(tmp_path), files_max=_MANY, skip_unreadable=True)
    assert (scan.directories, scan.unreadable) == (("open",), ("locked",))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_files_that_this_user_may_not_read_are_named_at_once_or_left_out() -> None:
    tree = Path(tempfile.mkdtemp())  # pytest's own directories are closed to other users
    try:
        tree.chmod(0o755)
        for name, mode in (("a", 0o600), ("b", 0o644), ("c", 0o000)):
            (tree / name).touch(mode)
            (tree / name).chmod(mode)
        os.seteuid(65534)
        with pytest.raises(EntriesRefused) as refused:
            scan_directory(str(tree), files_max=_MANY)
        scan = scan_directory(str(tree), files_max=_MANY, skip_unreadable=True)
    finally:
        os.seteuid(0)
        rmtree(tree)
    assert [entry.path for entry in refused.value.entries] == ["a", "c"]
    assert [file.path for file in scan.files] == ["b"]
    assert scan.unreadable == ("a", "c")


def test_as_many_files_as_the_limit_are_taken(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    assert len(scan_directory(str(tmp_path), files_max=3).files) == 3
    with pytest.raises(TreeTooLarge, match="more than 2 files, links and empty directories"):
        scan_directory(str(tmp_path), files_max=2)


def test_what_is_no_file_is_refused_by_its_kind(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EntriesRefused) as refused:
        scan_directory(str(tmp_path), files_max=_MANY)
    assert refused.value.entries == (("pipe", "special", "is a FIFO"),)
    assert "leave files out with --exclude" in str(refused.value)


def _doubling(tree: Path, levels: int) -> None:
    """Links that make a tree of 2 ** levels directories out of `levels`."""
    for level in range(levels):
        (tree / f"{level}").mkdir()
        for name in "ab":
            (tree / f"{level}" / name).symlink_to(f"../{level + 1}")
    (tree / f"{levels}").mkdir()


def test_links_that_multiply_end_at_a_bound_that_says_what_to_do(tmp_path: Path) -> None:
    _doubling(tmp_path, 30)
    with pytest.raises(TreeTooLarge, match="directories behind links; remove links") as refused:
        scan_directory(str(tmp_path), files_max=1000, links=LinkPolicy.FOLLOW)
    assert "ARTIFACTSTORE_PACKAGE_FILES_MAX" in str(refused.value)
    assert refused.value.limit == 1250


def test_a_few_directories_behind_links_are_taken(tmp_path: Path) -> None:
    _doubling(tmp_path, 5)
    (tmp_path / "5" / "file").touch()
    assert len(_paths(tmp_path)) == sum(2**level for level in range(6))


def test_directories_of_directories_end_at_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.ingest.scan._ENTRIES_MORE", 10)
    (tmp_path / "/".join("d" * 30)).mkdir(parents=True)
    assert scan_directory(str(tmp_path), files_max=2).directories == ("/".join("d" * 30),)
    (tmp_path / "more").mkdir()
    with pytest.raises(TreeTooLarge, match="more than 30 files, directories and links"):
        scan_directory(str(tmp_path), files_max=2)


@pytest.mark.parametrize("wide", [True, False])
def test_a_scan_ends_soon_after_it_is_not_wanted(tmp_path: Path, *, wide: bool) -> None:
    for name in range(1000):
        (tmp_path / f"{name}").touch() if wide else (tmp_path / f"{name}").mkdir()
    asked = 0

    class NotWanted(Exception):
        pass

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise NotWanted

    with pytest.raises(NotWanted):
        scan_directory(str(tmp_path), files_max=_MANY, check_cancelled=check)


def test_a_scan_tells_what_it_has_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.ingest.scan._TELL_EVERY", 2)
    for name in "abcde":
        (tmp_path / name).write_bytes(b"xyz")
    told: list[tuple[int, int]] = []
    scan_directory(str(tmp_path), files_max=_MANY, tell=lambda files, size: told.append((files, size)))
    assert told == [(2, 6), (4, 12)]


def _plant(tree: Path) -> None:
    """Files, links and directories of every sort, all of them fit for a package."""
    for directory in ("a/b", "empty", "logs/today"):
        (tree / directory).mkdir(parents=True)
    (tree / "a" / "b" / "f").write_bytes(b"x")
    (tree / "a" / "up").symlink_to("../empty")
    (tree / "dangling").symlink_to("nothing/there")
    (tree / "latest").symlink_to("a")
    (tree / "loop").symlink_to("loop")


def test_links_are_kept_and_empty_directories_are_found(tmp_path: Path) -> None:
    _plant(tmp_path)
    scan = scan_directory(str(tmp_path), files_max=_MANY)
    assert [file.path for file in scan.files] == ["a/b/f"]
    targets = {"a/up": "../empty", "dangling": "nothing/there", "latest": "a", "loop": "loop"}
    assert list(scan.links) == list(targets.items())
    assert scan.directories == ("empty", "logs/today")
    assert scan.excluded == ()


def test_links_that_lead_out_are_refused_all_at_once_with_their_reasons(tmp_path: Path) -> None:
    _plant(tmp_path)
    targets = {"m": "x/y/d/../etc", "n": "/etc/hostname", "x/y/d": "../..", "z": "..\\x"}
    (tmp_path / "x" / "y").mkdir(parents=True)
    for path, target in targets.items():
        (tmp_path / path).symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x" / "a\\b").touch()
    with pytest.raises(EntriesRefused) as refused:
        scan_directory(str(tmp_path), files_max=_MANY)
    assert refused.value.entries == (
        ("m", "link", "-> 'x/y/d/../etc' leaves the tree"),
        ("n", "link", "-> '/etc/hostname' is absolute; make it relative"),
        ("pipe", "special", "is a FIFO"),
        ("x/a\\b", "name", "is no path of a package: a backslash is not allowed; separate the parts with '/'"),
        ("z", "link", "-> '..\\\\x' holds a backslash or a control character"),
    )
    assert str(refused.value) == (
        f"5 entries of {str(tmp_path)!r} cannot be stored; leave links out with --links skip or --exclude, or leave "
        "files out with --exclude, or rename what a package cannot name, or leave it out with --exclude"
    )
    assert refused.value.__notes__[2] == "'pipe' is a FIFO"


def test_links_are_refused_or_left_out_where_the_caller_says_so(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for path in ("d/b", "a"):
        (tmp_path / path).symlink_to("/etc/hostname")
    with pytest.raises(EntriesRefused) as refused:
        scan_directory(str(tmp_path), files_max=_MANY, links=LinkPolicy.REFUSE)
    assert [link.path for link in refused.value.entries] == ["a", "d/b"]
    assert refused.value.entries[0].reason == "-> '/etc/hostname' is a link"
    scan = scan_directory(str(tmp_path), files_max=_MANY, links=LinkPolicy.SKIP)
    assert (scan.links, scan.directories, scan.excluded) == ((), (), ("a", "d/b"))


def test_links_and_empty_directories_count_as_entries(tmp_path: Path) -> None:
    _plant(tmp_path)
    assert len(scan_directory(str(tmp_path), files_max=7).links) == 4
    with pytest.raises(TreeTooLarge, match="more than 6 files, links and empty directories"):
        scan_directory(str(tmp_path), files_max=6)


def test_a_directory_that_holds_nothing_but_the_store_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "log.db").touch()
    own = OwnFiles.of(StorePlaces(database=tmp_path / "data" / "log.db"))
    scan = scan_directory(str(tmp_path), files_max=_MANY, own=own)
    assert (scan.files, scan.directories, scan.excluded) == ((), (), ("data/log.db",))


def test_names_that_are_one_path_on_other_systems_are_refused(tmp_path: Path) -> None:
    (tmp_path / "\u00e9").symlink_to("x")
    (tmp_path / "e\u0301" / "below").mkdir(parents=True)
    with pytest.raises(PathRefused, match="cannot be below it"):
        scan_directory(str(tmp_path), files_max=_MANY)
