"""An archive of a directory gives the entries and the contents that the directory gives, whatever made the archive."""

import io
import os
import resource
import shutil
import subprocess
import tarfile
import tempfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, override

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_samples import Part, pax, record, tar, tar_member, zip_archive
from artifactstore.errors import (
    ArchiveRefused,
    EntriesRefused,
    IgnoreFileRefused,
    PathRefused,
    SourceChanged,
    SourceUnreadable,
    TargetRefused,
)
from artifactstore.ingest.archives import OpenArchive, open_archive
from artifactstore.ingest.scan import Scan, scan_directory
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.selection import EVERYTHING, Selection
from strategies import tree_paths

SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n"

type Facts = tuple[list[tuple[str, bool, bytes]], Mapping[str, str], tuple[str, ...], tuple[str, ...]]


def of_archive(archive: OpenArchive) -> Facts:
    scan = archive.scan
    return facts(scan, lambda source, size: os.pread(archive.descriptor, size, int(source)))


def of_directory(tree: Path, selection: Selection = EVERYTHING) -> Facts:
    scan = scan_directory(str(tree), files_max=1000, selection=selection)
    return facts(scan, lambda source, _size: (tree / source).read_bytes())


def facts(scan: Scan, read: Callable[[str, int], bytes]) -> Facts:
    files = [(file.path, file.executable, read(file.source, file.size_bytes)) for file in scan.files]
    return files, dict(scan.links), scan.directories, scan.excluded


@contextmanager
def opened(
    data: bytes, *, links: LinkPolicy = LinkPolicy.KEEP, selection: Selection = EVERYTHING, prefix: str = ""
) -> Generator[OpenArchive]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        with open_archive(
            file.fileno(), "a.tar", files_max=1000, links=links, selection=selection, prefix=prefix
        ) as archive:
            yield archive


def by_tarfile(mode: Literal["w", "w:gz", "w:bz2", "w:xz"], form: int) -> Callable[[Path], bytes]:
    def make(tree: Path) -> bytes:
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode=mode, format=form) as archive:
            archive.add(tree, ".")
        return written.getvalue()

    return make


def link_text(path: Path) -> bytes:
    return os.readlink(os.fsencode(path))  # noqa: PTH115 - a path object drops dots


def by_zipfile(method: int, *, streamed: bool) -> Callable[[Path], bytes]:
    class Stream(io.BytesIO):
        @override
        def seekable(self) -> bool:
            return not streamed

        @override
        def tell(self) -> int:
            if streamed:
                raise io.UnsupportedOperation
            return super().tell()

    def make(tree: Path) -> bytes:
        written = Stream()
        with zipfile.ZipFile(written, "w", method) as archive:
            for path in sorted(tree.rglob("*")):
                info = zipfile.ZipInfo(str(path.relative_to(tree)) + "/" * (path.is_dir() and not path.is_symlink()))
                info.create_system = 3
                info.compress_type = method
                info.external_attr = path.lstat().st_mode << 16
                content = link_text(path) if path.is_symlink() else b"" if path.is_dir() else None
                with archive.open(info, "w", force_zip64=streamed and method == zipfile.ZIP_STORED) as member:
                    member.write(path.read_bytes() if content is None else content)
        return written.getvalue()

    return make


def by_program(*command: str) -> Callable[[Path], bytes]:
    def make(tree: Path) -> bytes:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "archive.zip")
            done = subprocess.run([part.replace("FILE", str(file)) for part in command], check=False, cwd=tree)
            assert done.returncode == 0 or not any(tree.iterdir()), "zip makes no archive of nothing"
            return file.read_bytes() if done.returncode == 0 else tar()

    return make


MAKERS: dict[str, Callable[[Path], bytes]] = {
    "pax": by_tarfile("w", tarfile.PAX_FORMAT),
    "GNU": by_tarfile("w", tarfile.GNU_FORMAT),
    "gzip": by_tarfile("w:gz", tarfile.PAX_FORMAT),
    "bzip2": by_tarfile("w:bz2", tarfile.GNU_FORMAT),
    "xz": by_tarfile("w:xz", tarfile.PAX_FORMAT),
    "zip": by_zipfile(zipfile.ZIP_DEFLATED, streamed=False),
    "zip, streamed": by_zipfile(zipfile.ZIP_DEFLATED, streamed=True),
    "zip, stored": by_zipfile(zipfile.ZIP_STORED, streamed=False),
    "zip64, streamed": by_zipfile(zipfile.ZIP_STORED, streamed=True),
    "zip of bzip2": by_zipfile(zipfile.ZIP_BZIP2, streamed=False),
}
PROGRAMS: dict[str, tuple[str, ...]] = {
    "tar --format=gnu": ("tar", "--format=gnu", "-cf", "FILE", "."),
    "tar --format=pax": ("tar", "--format=pax", "-cf", "FILE", "."),
    "tar -z": ("tar", "-czf", "FILE", "."),
    "zip": ("zip", "-qry", "FILE", "."),
}
PRESENT = {name: by_program(*command) for name, command in PROGRAMS.items() if shutil.which(command[0])}

SELECTIONS = st.builds(
    Selection,
    exclude=st.lists(st.sampled_from(["a", "b/", "*.gz", "/z", "a/*", "!a"]), max_size=2),
    include=st.lists(st.sampled_from(["a/b", "*.json"]), max_size=1),
    ignore_files=st.booleans(),
    exclude_caches=st.booleans(),
    max_file_size=st.none() | st.integers(0, 600),
)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, tuple[str, bytes]]:
    """A kind and a content, or a target, for each path of a tree."""
    tree: dict[str, tuple[str, bytes]] = {}
    for path in draw(tree_paths()):
        kind = draw(st.sampled_from(["file", "file", "executable", "link", "directory"]))
        if kind == "link":
            up = "../" * draw(st.integers(0, path.count("/")))
            tree[path] = kind, (up + draw(st.sampled_from(["a", "é/b", "nowhere", "./z", "."]))).encode()
        else:
            tree[path] = kind, draw(st.sampled_from([b"", b"*.gz\nb\n", SIGNATURE, bytes(513)]) | st.binary())
    for name, content in ((".artifactignore", b"*.gz\n/b\n"), ("CACHEDIR.TAG", SIGNATURE)):
        if draw(st.booleans()):
            tree[f"a/{name}"] = "file", content
    return tree


def write(tree: Mapping[str, tuple[str, bytes]], where: Path) -> None:
    for path, (kind, content) in tree.items():
        target = where / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if kind == "directory":
                target.mkdir(exist_ok=True)
            elif kind == "link":
                target.symlink_to(os.fsdecode(content))
            else:
                target.write_bytes(content)
                target.chmod(0o755 if kind == "executable" else 0o644)
        except (FileExistsError, NotADirectoryError):
            continue  # `a` is a file or a link, and the names that were added are below it


def check_equal(make: Callable[[Path], bytes], tree: Mapping[str, tuple[str, bytes]], selection: Selection) -> None:
    with tempfile.TemporaryDirectory() as directory:
        write(tree, Path(directory))
        expected = of_directory(Path(directory), selection)
        with opened(make(Path(directory)), selection=selection) as archive:
            assert of_archive(archive) == expected


@settings(max_examples=60)
@given(make=st.sampled_from(sorted(MAKERS)), tree=trees(), selection=SELECTIONS)
def test_an_archive_of_a_directory_equals_the_directory(
    make: str, tree: dict[str, tuple[str, bytes]], selection: Selection
) -> None:
    check_equal(MAKERS[make], tree, selection)


@pytest.mark.slow
@pytest.mark.skipif(not PRESENT, reason="neither tar nor zip is installed")
@settings(max_examples=30, deadline=None)
@given(data=st.data(), tree=trees(), selection=SELECTIONS)
def test_what_programs_make_of_a_directory_equals_the_directory(
    data: st.DataObject, tree: dict[str, tuple[str, bytes]], selection: Selection
) -> None:
    make = data.draw(st.sampled_from(sorted(PRESENT)))
    check_equal(PRESENT[make], tree, selection)


def test_hard_links_are_files_with_one_slice(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("a")
    os.link(tmp_path / "c", tmp_path / "d", follow_symlinks=False)
    with opened(MAKERS["GNU"](tmp_path)) as archive:
        assert of_archive(archive) == of_directory(tmp_path)
        assert len({file.source for file in archive.scan.files}) == 1


def test_a_plain_tar_in_a_file_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(tar_member(b"f", b"content")))
    with (tmp_path / "a.tar").open("rb") as file, open_archive(file.fileno(), "a", files_max=9) as archive:
        assert archive.descriptor == file.fileno()
        assert archive.scan.files[0].source == "512"
        assert file.tell() == 0


def test_a_zip_without_compression_is_not_copied_either(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zip_archive(Part(b"f", b"content"), Part(b"g")))
    with (tmp_path / "a.zip").open("rb") as file, open_archive(file.fileno(), "a", files_max=9) as archive:
        assert archive.descriptor == file.fileno()
        assert of_archive(archive)[0] == [("f", False, b"content"), ("g", False, b"x")]


@pytest.mark.parametrize("make", ["pax", "xz", "zip", "zip, stored"])
def test_a_pipe_is_read_to_its_end(tmp_path: Path, make: str) -> None:
    (tmp_path / "f").write_bytes(os.urandom(300_000))
    (tmp_path / "empty").mkdir()
    data = MAKERS[make](tmp_path)
    reading, writing = os.pipe()

    def feed() -> None:
        with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor
            pipe.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    with open_archive(reading, "-", files_max=9) as archive:
        assert of_archive(archive) == of_directory(tmp_path)
    thread.join()
    os.close(reading)


def test_an_archive_behind_something_else_is_read_from_there(tmp_path: Path) -> None:
    (tmp_path / "both").write_bytes(b"something else" + tar(tar_member(b"f", b"content")))
    with (tmp_path / "both").open("rb", buffering=0) as file:
        file.seek(len("something else"))
        with open_archive(file.fileno(), "a", files_max=9) as archive:
            assert of_archive(archive)[0] == [("f", False, b"content")]


def test_a_waiting_pipe_can_be_cancelled() -> None:
    class Cancelled(Exception):
        pass

    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise Cancelled

    reading, writing = os.pipe()
    with pytest.raises(Cancelled), open_archive(reading, "-", files_max=9, check_cancelled=check):
        pass
    os.close(reading)
    os.close(writing)


def test_entries_are_placed_under_a_prefix() -> None:
    data = tar(
        tar_member(b"d/f", b"x"),
        tar_member(b"d/.artifactignore", b"/g"),
        tar_member(b"d/g"),
        tar_member(b"l", kind=b"2", target=b"d/f"),
        tar_member(b"e/", kind=b"5"),
        tar_member(b"left"),
    )
    with opened(data, prefix="p/q", selection=Selection(exclude=["/left"])) as archive:
        assert archive.scan.paths() == ["p/q/d/.artifactignore", "p/q/d/f", "p/q/l", "p/q/e"]
        assert archive.scan.excluded == ("p/q/d/g", "p/q/left")
        assert archive.scan.root == ""


def test_a_link_stays_in_the_archive_and_not_only_in_the_package() -> None:
    data = tar(tar_member(b"l", kind=b"2", target=b"../other"))
    with pytest.raises(EntriesRefused, match=r"'p/l' -> '\.\./other' leaves the tree"), opened(data, prefix="p"):
        pass
    with pytest.raises(PathRefused), opened(tar(), prefix="../p"):
        pass


def test_links_are_treated_by_the_policy() -> None:
    data = tar(tar_member(b"f"), tar_member(b"l", kind=b"2", target=b"f"), tar_member(b"m", kind=b"2", target=b"/f"))
    with opened(data, links=LinkPolicy.SKIP) as archive:
        assert (archive.scan.paths(), archive.scan.excluded) == (["f"], ("l", "m"))
    with pytest.raises(EntriesRefused) as refused, opened(data, links=LinkPolicy.REFUSE):
        pass
    assert [link.reason for link in refused.value.entries] == ["-> 'f' is a link", "-> '/f' is a link"]


def test_what_no_package_takes_can_be_left_out() -> None:
    data = tar(tar_member(b"p", kind=b"6"), tar_member(b"\xff"), tar_member(b"a\\b"), tar_member(b"f"))
    with pytest.raises(EntriesRefused, match="leave files out with --exclude"), opened(data[:512] + tar()):
        pass
    with opened(data, selection=Selection(exclude=["p", "?", "a?b"], include=["f"])) as archive:
        assert archive.scan.paths() == ["f"]


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (tar_member(b".artifactignore", b"\xff"), "it is not UTF-8"),
        (tar_member(b".artifactignore", b"[a"), "is no rule"),
        (tar_member(b".artifactignore", b"x\n" * 2001), "at most 2000"),
        (tar_member(b".artifactignore", b"#" * ((1 << 20) + 1)), "more than 1048576 bytes"),
        (tar_member(b".artifactignore/f"), "no regular file"),
        (tar_member(b".artifactignore", kind=b"2", target=b"f"), "no regular file"),
        (
            tar_member(b".artifactignore", b"x\n" * 1500) + tar_member(b"d/.artifactignore", b"x\n" * 1500),
            "'d/.artifactignore' .* more than 2000 rules",
        ),
    ],
)
def test_an_ignore_file_that_cannot_be_used_is_refused(member: bytes, words: str) -> None:
    with pytest.raises(IgnoreFileRefused, match=words), opened(tar(member)):
        pass
    with opened(tar(member), selection=Selection(ignore_files=False)):
        pass


def test_memory_is_bounded_whatever_a_file_unpacks_to(tmp_path: Path) -> None:
    size = 48 << 20
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive, (tmp_path / "large").open("wb") as large:
        large.truncate(size)
        archive.add(tmp_path / "large", "large")
    with (tmp_path / "a.tar.gz").open("rb") as file:
        tracemalloc.start()
        try:
            with open_archive(file.fileno(), "a", files_max=9) as archive:
                assert archive.scan.files[0].size_bytes == size
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_what_is_written_meanwhile_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar(tar_member(b"f", b"content")))
    with (tmp_path / "a.tar").open("r+b") as file, open_archive(file.fileno(), "a", files_max=9) as archive:
        archive.check_unchanged()
        file.seek(0, os.SEEK_END)
        file.write(bytes(512))
        file.flush()
        with pytest.raises(SourceChanged, match="'a' changed while it was read: it was written"):
            archive.check_unchanged()


def test_a_descriptor_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with (
        (tmp_path / "a").open("wb", buffering=0) as file,
        pytest.raises(SourceUnreadable, match="'a' cannot be read: the file was closed"),
        open_archive(file.write(b"x") and file.fileno(), "a", files_max=9),
    ):
        pass
    with pytest.raises(SourceUnreadable, match="the file was closed"), open_archive(file_closed(), "a", files_max=9):
        pass


def file_closed() -> int:
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


def test_a_place_for_temporary_files_that_is_missing_or_full_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(os.urandom(100_000))
    data = MAKERS["gzip"](tmp_path)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        missing = str(tmp_path / "missing")
        with (
            pytest.raises(TargetRefused, match=r"missing.*name a larger place by TMPDIR"),
            open_archive(file.fileno(), "a", files_max=9, directory=missing),
        ):
            pass
        file.seek(0)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
        try:
            with (
                pytest.raises(TargetRefused, match="name a larger place by TMPDIR"),
                open_archive(file.fileno(), "a", files_max=9),
            ):
                pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_progress_counts_files_and_bytes() -> None:
    told: list[tuple[int, int]] = []
    data = tar(*(tar_member(b"%d" % number, b"xy") for number in range(2500)))
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        with open_archive(file.fileno(), "a", files_max=9999, tell=lambda files, size: told.append((files, size))):
            assert told == [(1000, 2000), (2000, 4000)]


def test_an_error_names_the_archive_and_the_member() -> None:
    with pytest.raises(ArchiveRefused) as refused, opened(tar(pax(record(b"GNU.sparse.map", b"0,1")))):
        pass
    assert (refused.value.archive, refused.value.member) == ("a.tar", "PaxHeaders/f")
    assert str(refused.value).startswith("archive 'a.tar' refused: 'PaxHeaders/f': it is a sparse file; make")


def test_hard_links_count_as_what_they_unpack_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.ingest.archives.limits._FREE_BYTES", 100_000)
    links = [tar_member(f"l{number}".encode(), kind=b"1", target=b"f") for number in range(1200)]
    data = tar(tar_member(b"f", bytes(1000)), *links[:50])
    with opened(data) as archive:
        assert len(archive.scan.files) == 51
    data = tar(tar_member(b"f", bytes(600_000)), *links)
    with pytest.raises(ArchiveRefused, match="it unpacks to more than 500 times its size"), opened(data):
        pass
