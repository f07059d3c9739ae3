"""A scan leaves out what its selection excludes, names it, and looks at nothing below it."""

import os
from pathlib import Path

import pytest

from artifactstore.ingest.refusals import EntriesRefused, IgnoreFileRefused
from artifactstore.ingest.scan import Scan, scan_directory
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.selection import Selection

SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n# made by a tool\n"


def scan(tree: Path, selection: Selection) -> Scan:
    return scan_directory(str(tree), files_max=1000, selection=selection)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path in ("a.log", "keep.log", "src/a.c", "src/a.o", "build/out/x", "build/report/r.html", "src/deep/b.o"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    return tmp_path


def test_the_caller_excludes_and_includes(tree: Path) -> None:
    found = scan(tree, Selection(exclude=["*.log", "build/*", "*.o"], include=["keep.log", "build/report"]))
    assert found.paths() == ["build/report/r.html", "keep.log", "src/a.c"]
    assert found.excluded == ("a.log", "build/out", "src/a.o", "src/deep/b.o")
    assert found.directories == (), "a directory in which all is left out is not empty"


def test_ignore_files_have_rules_for_their_directory_and_the_nearest_decides(tree: Path) -> None:
    (tree / ".artifactignore").write_text("\ufeff# objects\r\n*.o\r\n/build\n", encoding="utf-8")
    (tree / "src" / "deep" / ".artifactignore").write_text("!b.o")
    taken = [".artifactignore", "a.log", "keep.log", "src/a.c", "src/deep/.artifactignore", "src/deep/b.o"]
    assert scan(tree, Selection()).paths() == taken
    assert len(scan(tree, Selection(ignore_files=False)).paths()) == 9
    assert scan(tree, Selection(exclude=["*.log", ".artifactignore"], include=["src/a.o"])).paths() == [
        "src/a.c",
        "src/a.o",
        "src/deep/b.o",
    ]


def test_nothing_below_an_excluded_directory_is_looked_at(tree: Path) -> None:
    (tree / "build" / ".artifactignore").write_bytes(b"\xff")
    (tree / "build" / "\udcff").touch()
    os.mkfifo(tree / "pipe")
    with pytest.raises(IgnoreFileRefused, match=r"'build/\.artifactignore' cannot be used: it is not UTF-8"):
        scan(tree, Selection(exclude=["pipe"]))
    with pytest.raises(EntriesRefused, match="leave files out with --exclude"):
        scan(tree, Selection(exclude=["build"]))
    found = scan(tree, Selection(exclude=["build", "pipe"]))
    assert found.excluded == ("build", "pipe")


def test_a_name_that_no_package_takes_can_be_left_out(tree: Path) -> None:
    (tree / "src" / "\udcff").touch()
    assert scan(tree, Selection(exclude=["src/?"])).excluded == ("src/\udcff",)


def test_caches_and_large_files_are_left_out_if_it_is_asked(tree: Path) -> None:
    (tree / "build" / "CACHEDIR.TAG").write_bytes(SIGNATURE)
    (tree / "src" / "CACHEDIR.TAG").write_bytes(b"Signature: another")
    (tree / "exactly").write_bytes(b"x" * 30)
    (tree / "larger").write_bytes(b"x" * 31)
    found = scan(tree, Selection(exclude_caches=True, max_file_size=30))
    assert found.excluded == ("build", "larger")
    assert "exactly" in found.paths()
    assert scan(tree, Selection()).excluded == ()


def test_a_followed_link_is_judged_as_what_it_leads_to(tree: Path) -> None:
    (tree / "cache").mkdir()
    (tree / "cache" / "CACHEDIR.TAG").write_bytes(SIGNATURE)
    (tree / "large").write_bytes(b"x" * 31)
    for name, target in (("l1", "cache"), ("l2", "large"), ("out", "build")):
        (tree / name).symlink_to(target)
    selection = Selection(exclude=["out/", "src"], exclude_caches=True, max_file_size=30)
    found = scan_directory(str(tree), files_max=1000, links=LinkPolicy.FOLLOW, selection=selection)
    assert found.excluded == ("build/out", "cache", "l1", "l2", "large", "out", "src")


def test_neither_pipes_nor_directories_are_taken_for_rules_or_tags(tree: Path) -> None:
    (tree / "src" / "CACHEDIR.TAG").mkdir()
    os.mkfifo(tree / "build" / "CACHEDIR.TAG")
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = scan(tree, Selection(exclude=["CACHEDIR.TAG"], exclude_caches=True))
    assert found.excluded == ("build/CACHEDIR.TAG", "src/CACHEDIR.TAG")
    os.mkfifo(tree / "src" / ".artifactignore")
    with pytest.raises(IgnoreFileRefused, match="it is no regular file"):
        scan(tree, Selection(exclude=["CACHEDIR.TAG"]))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_rules_on_a_path_are_limited(tree: Path) -> None:
    (tree / ".artifactignore").write_text("x\n" * 1000)
    (tree / "src" / ".artifactignore").write_text("x\n" * 1001)
    with pytest.raises(IgnoreFileRefused, match=r"'src/\.artifactignore' .* more than 2000 rules"):
        scan(tree, Selection())


def test_a_directory_of_skipped_links_is_not_empty(tree: Path) -> None:
    (tree / "links").mkdir()
    (tree / "links" / "l").symlink_to("nowhere")
    found = scan_directory(str(tree), files_max=1000, links=LinkPolicy.SKIP)
    assert (found.directories, found.excluded) == ((), ("links/l",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x" * (1 << 20) + b"y", "more than 1048576 bytes"),
        (b"[[:digit:]]", "is no rule"),
        (None, "no regular file"),
    ],
)
def test_an_ignore_file_that_cannot_be_used_is_refused(tree: Path, content: bytes | None, reason: str) -> None:
    file = tree / "src" / ".artifactignore"
    if content is None:
        file.symlink_to("/dev/zero")
    else:
        file.write_bytes(content)
    with pytest.raises(IgnoreFileRefused, match=reason):
        scan(tree, Selection())
