"""A scan leaves out what its selection excludes, names it, and looks at nothing below it."""

import os
from pathlib import Path

import pytest

from artifactstore.ingest.refusals import IgnoreFileRefused, SpecialFileRefused
from artifactstore.ingest.scan import Scan, scan_directory
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
    with pytest.raises(SpecialFileRefused, match="leave it out with --exclude"):
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
