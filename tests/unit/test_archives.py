"""Archives are read by other programs as what they are, have the same bytes each time, and no size is too large."""

import io
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore_protocols.archives import TAR_END, ZipWriter, tar_header, tar_padding
from artifactstore_protocols.records import FileRecord
from strategies import tree_paths

type Item = tuple[FileRecord, bytes]

LARGE = 5 << 30
"""More than 32 bits hold."""
HUGE = 9 << 30
"""More than the field of a tar header holds."""


def file(path: str, content: bytes = b"", *, executable: bool = False, size_bytes: int | None = None) -> Item:
    size = len(content) if size_bytes is None else size_bytes
    return FileRecord("p", path, "file", size, executable, "", "", "", "", 1), content


def link(path: str, target: str) -> Item:
    return FileRecord("p", path, "link", 0, False, "", "", "", target, 1), b""


def directory(path: str) -> Item:
    return FileRecord("p", path, "directory", 0, False, "", "", "", "", 1), b""


LONG = "/".join(["long name " * 12] * 3)
ITEMS: Sequence[Item] = (
    file("a.html", b"<p>"),
    file("bin/run", b"#!/bin/sh\n", executable=True),
    file("block", b"x" * 512),
    directory("empty"),
    link("caf\u00e9/up", "../a.html"),
    file("caf\u00e9/\U0001f600", b"smile"),
    file(LONG, b"long"),
    link("latest", LONG),
    file("zero"),
)


def tar_of(items: Sequence[Item]) -> bytes:
    parts = [tar_header(entry) + content + tar_padding(len(content)) for entry, content in items]
    return b"".join([*parts, TAR_END])


def zip_of(items: Sequence[Item]) -> bytes:
    writer = ZipWriter()
    parts: list[bytes] = []
    for entry, content in items:
        body = entry.target.encode() if entry.kind == "link" else content
        parts += (writer.header(entry, len(body), zlib.crc32(body)), body)
    return b"".join([*parts, *writer.end()])


def listed(root: Path) -> dict[str, str | bytes]:
    """A tree by its paths: contents, with x if executable; / is an empty directory, and -> a link."""
    found: dict[str, str | bytes] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"->{path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes() + (b"x" if path.stat().st_mode & 0o100 else b"")
        elif not any(path.iterdir()):
            found[name] = "/"
    return found


EXPECTED = {
    entry.path: f"->{entry.target}"
    if entry.kind == "link"
    else "/"
    if entry.kind == "directory"
    else content + (b"x" if entry.executable else b"")
    for entry, content in ITEMS
}


def test_a_tar_file_is_read_by_python() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(ITEMS)), mode="r|") as archive:
        for (entry, content), member in zip(ITEMS, archive, strict=True):
            assert (member.name, member.linkname) == (entry.path, entry.target)
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            kinds = member.isfile(), member.issym(), member.isdir()
            assert kinds == (entry.kind == "file", entry.kind == "link", entry.kind == "directory")
            modes = {"file": 0o755 if entry.executable else 0o644, "link": 0o777, "directory": 0o755}
            assert member.mode == modes[entry.kind]
            if (opened := archive.extractfile(member) if member.isfile() else None) is not None:
                assert opened.read() == content


def test_a_zip_file_is_read_by_python() -> None:
    with zipfile.ZipFile(io.BytesIO(zip_of(ITEMS))) as archive:
        assert archive.testzip() is None
        for (entry, content), member in zip(ITEMS, archive.infolist(), strict=True):
            assert member.filename == entry.path + ("/" if entry.kind == "directory" else "")
            assert (member.date_time, member.compress_type) == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)
            modes = {"file": 0o100755 if entry.executable else 0o100644, "link": 0o120777, "directory": 0o040755}
            assert member.external_attr >> 16 == modes[entry.kind]
            assert archive.read(member) == (entry.target.encode() if entry.kind == "link" else content)


@pytest.mark.parametrize(
    ("form", "command"),
    [
        ("tar", ["tar", "-xf", "archive"]),
        ("tar", ["bsdtar", "-xf", "archive"]),
        ("zip", ["unzip", "-q", "archive"]),
        ("zip", ["bsdtar", "-xf", "archive"]),
    ],
)
def test_programs_of_the_system_restore_the_tree(tmp_path: Path, form: str, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    items = [item for item in ITEMS if item[0].path != LONG and item[0].path != "latest"] if form == "zip" else ITEMS
    (tmp_path / "archive").write_bytes((tar_of if form == "tar" else zip_of)(items))
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C.UTF-8"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    (tmp_path / "archive").unlink()
    kept = {entry.path for entry, _ in items}
    assert listed(tmp_path) == {path: what for path, what in EXPECTED.items() if path in kept}


def test_the_bytes_are_always_these() -> None:
    """Who changes the writers changes every archive that somebody compares by its digest."""
    assert sha256(tar_of(ITEMS)).hexdigest() == "f60c64d16c8f0f263fcd3434e9f504864e2c72b2690538b503e78817b37cf469"
    assert sha256(zip_of(ITEMS)).hexdigest() == "fdd16ac844b4afcc6c52ee58939685426aca1594098011c67601fbefb3724d1e"


@given(paths=tree_paths(), contents=st.lists(st.binary(max_size=600), min_size=8, max_size=8))
def test_any_names_and_contents_are_read_again(paths: list[str], contents: list[bytes]) -> None:
    items = [file(path, content) for path, content in zip(paths, contents, strict=False)]
    expected = {entry.path: content for entry, content in items}
    with tarfile.open(fileobj=io.BytesIO(tar_of(items)), mode="r:") as archive:
        found = {member.name: opened.read() for member in archive if (opened := archive.extractfile(member))}
    assert found == expected
    with zipfile.ZipFile(io.BytesIO(zip_of(items))) as zipped:
        assert {name: zipped.read(name) for name in zipped.namelist()} == expected


def test_a_tar_file_holds_files_of_any_size(tmp_path: Path) -> None:
    entry, _ = file("huge", size_bytes=HUGE)
    after, content = file("after", b"after")
    with (tmp_path / "huge.tar").open("wb") as archive:  # the content is a hole
        archive.write(tar_header(entry))
        archive.seek(HUGE, io.SEEK_CUR)
        archive.write(tar_padding(HUGE) + tar_header(after) + content + tar_padding(len(content)) + TAR_END)
    with tarfile.open(tmp_path / "huge.tar") as read:
        assert [(member.name, member.size) for member in read] == [("huge", HUGE), ("after", 5)]


def test_a_zip_file_holds_files_of_any_size_and_what_is_behind_them(tmp_path: Path) -> None:
    writer = ZipWriter()
    entry, _ = file("large", size_bytes=LARGE)
    after, content = file("after", b"after")
    with (tmp_path / "large.zip").open("wb") as archive:
        archive.write(writer.header(entry, LARGE, 0))
        archive.seek(LARGE, io.SEEK_CUR)
        archive.write(writer.header(after, len(content), zlib.crc32(content)) + content)
        archive.write(b"".join(writer.end()))
    with zipfile.ZipFile(tmp_path / "large.zip") as read:
        assert [(each.filename, each.file_size) for each in read.infolist()] == [("large", LARGE), ("after", 5)]
        assert read.read("after") == b"after"
        with read.open("large") as opened:
            assert opened.read(9) == bytes(9)
    if shutil.which("unzip"):
        shown = subprocess.run(["unzip", "-p", "large.zip", "after"], cwd=tmp_path, capture_output=True, check=False)
        assert (shown.returncode, shown.stdout) == (0, b"after")


def test_a_zip_file_holds_more_files_than_16_bits_count() -> None:
    items = [file(f"{number}") for number in range(70_000)]
    with zipfile.ZipFile(io.BytesIO(zip_of(items))) as archive:
        assert len(archive.namelist()) == len(items)


def test_an_archive_of_nothing_is_one() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of([])), mode="r:") as archive:
        assert archive.getmembers() == []
    with zipfile.ZipFile(io.BytesIO(zip_of([]))) as zipped:
        assert zipped.namelist() == []


def test_an_archive_without_its_end_is_truncated() -> None:
    cut = zip_of(ITEMS).partition(b"PK\x05\x06")[0]
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(cut))
    cut = tar_of([file("a", b"x" * 2000)])[:1500]
    with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(cut), mode="r|") as archive:
        archive.getmembers()
