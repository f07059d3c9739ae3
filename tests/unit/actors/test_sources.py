"""Several sources become one tree: each directory below its name, files by their names, a pipe as a file."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trio
from msgspec.structs import replace

from artifactstore.dataplane.source import open_source
from artifactstore.errors import (
    ArchiveRefused,
    EntriesRefused,
    InvalidValue,
    PathRefused,
    PathUnusable,
    SourceChanged,
    SourceUnreadable,
    TreeTooLarge,
)
from artifactstore.ingest.archives.reading import everything_in
from artifactstore.ingest.results import unreadable_note
from artifactstore.ingest.scan import ScannedFile
from artifactstore.ingest.sources import Gathered, default_name, gather
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.metadata import UNREADABLE, Metadata, MetadataValue, check_metadata
from artifactstore_protocols.selection import EVERYTHING, Selection
from artifactstore_protocols.sources import SOURCES_MAX, Source, SourceTree


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Two directories and a file: `a` (f, sub/g, empty), `b` (f, link) and `note.txt`."""
    for path in ("a/sub", "a/empty", "b"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("a/f", "a/sub/g", "b/f", "note.txt"):
        (tmp_path / path).write_text(f"content of {path}")
    (tmp_path / "b" / "link").symlink_to("f")
    return tmp_path


def read(found: Gathered, file: ScannedFile) -> bytes:
    with open_source(found.source_of(file)) as source:
        return source.read_whole()


def contents(found: Gathered) -> dict[str, str]:
    return {file.path: read(found, file).decode() for file in found.scan.files}


def several(
    here: Path, *names: str, prefix: str = "", links: LinkPolicy = LinkPolicy.KEEP, selection: Selection = EVERYTHING
) -> Gathered:
    tree = SourceTree(tuple(Source(str(here / name)) for name in names), prefix, links, selection)
    return gather(tree, files_max=100)


def test_one_directory_is_the_tree_and_one_file_is_an_entry_of_it(here: Path) -> None:
    assert contents(several(here, "a")) == {"f": "content of a/f", "sub/g": "content of a/sub/g"}
    assert contents(several(here, "note.txt")) == {"note.txt": "content of note.txt"}


def test_a_prefix_is_a_directory_of_the_package_for_all(here: Path) -> None:
    found = several(here, "a", prefix="x/y")
    assert contents(found) == {"x/y/f": "content of a/f", "x/y/sub/g": "content of a/sub/g"}
    assert found.scan.directories == ("x/y/empty",)
    assert several(here, "a/empty", prefix="x/y").scan.directories == ("x/y",)
    assert several(here, "a/empty").scan.directories == ()


def test_of_several_sources_each_directory_keeps_its_name(here: Path) -> None:
    found = several(here, "b", "note.txt", "a", "a/empty")
    assert contents(found) == {
        "a/f": "content of a/f",
        "a/sub/g": "content of a/sub/g",
        "b/f": "content of b/f",
        "note.txt": "content of note.txt",
    }
    assert [file.path for file in found.scan.files] == ["a/f", "a/sub/g", "b/f", "note.txt"]
    assert found.scan.links == (("b/link", "f"),)
    assert found.scan.directories == ("a/empty", "empty")


def test_the_files_of_several_sources_have_stamps_and_one_cache(here: Path) -> None:
    found = several(here, "a", "note.txt")
    assert all(file.stamp for file in found.scan.files)
    assert found.cached_as is not None
    assert found.cached_as != several(here, "a").cached_as


def test_rules_are_about_paths_in_each_directory(here: Path) -> None:
    found = several(here, "a", "b", prefix="x", selection=Selection(exclude=["/f", "/a"]))
    assert [file.path for file in found.scan.files] == ["x/a/sub/g"]
    assert found.scan.excluded == ("x/a/f", "x/b/f")


def test_links_are_judged_in_the_whole_tree(here: Path) -> None:
    (here / "b" / "to a").symlink_to("../a/f")
    assert [path for path, _target in several(here, "a", "b").scan.links] == ["b/link", "b/to a"]
    (here / "a" / "up").symlink_to("../b/d")
    (here / "b" / "d").symlink_to("..")
    (here / "a" / "out").symlink_to("up/../x")
    with pytest.raises(EntriesRefused) as refused:
        several(here, "a", "b")
    assert [entry.path for entry in refused.value.entries] == ["a/out"]
    assert several(here, "a", "b", links=LinkPolicy.SKIP).scan.links == ()


@pytest.mark.parametrize("names", [("a/f", "b/f"), ("a", "a"), ("note.txt", "a/../note.txt")])
def test_two_entries_of_one_name_are_refused(here: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(PathRefused, match="it occurs twice"):
        several(here, *names)


def test_the_limit_is_on_all_sources_together(here: Path) -> None:
    sources = (Source(str(here / "a")), Source(str(here / "b")))
    assert gather(SourceTree(sources), files_max=5)
    assert len(gather(SourceTree(sources[:1]), files_max=3).scan.paths()) == 3
    for files_max in (3, 4):
        with pytest.raises(TreeTooLarge, match=f"b' holds more than {files_max} entries together with the sources"):
            gather(SourceTree(sources), files_max=files_max)


def test_many_archives_need_few_descriptors_and_each_keeps_its_contents(tmp_path: Path) -> None:
    paths: list[Path] = []
    for number in range(12):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / f"f{number}").write_text(f"content {number}" * number)
        form = ("tar", "gztar", "zip")[number % 3]
        paths.append(Path(shutil.make_archive(str(tmp_path / f"a{number}"), form, tmp_path / f"d{number}")))
    before = len([*Path("/proc/self/fd").iterdir()])
    found = gather(SourceTree(tuple(Source(str(path), unpack=True) for path in paths)), files_max=100)
    assert len([*Path("/proc/self/fd").iterdir()]) <= before + 1
    assert contents(found) == {f"f{number}": f"content {number}" * number for number in range(12)}
    paths[0].write_bytes(paths[3].read_bytes())
    with pytest.raises(SourceChanged):
        read(found, found.scan.files[0])


def test_what_was_found_is_told_for_all_sources(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.ingest.scan._TELL_EVERY", 1)
    told: list[tuple[int, int]] = []
    tree = SourceTree((Source(str(here / "a")), Source(str(here / "b"))))
    gather(tree, files_max=100, tell=lambda files, size: told.append((files, size)))
    assert [files for files, _size in told] == [1, 2, 3]
    assert told[-1][1] == sum(len(f"content of {path}") for path in ("a/f", "a/sub/g", "b/f"))


def _pipe_of(content: bytes) -> int:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


def _file_of(content: bytes) -> int:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(b"read before" + content)
        file.seek(len(b"read before"))
        return os.dup(file.fileno())


@pytest.mark.parametrize("open_with", [_pipe_of, _file_of], ids=["pipe", "file"])
def test_a_descriptor_is_one_file_with_what_is_left_of_it(open_with: Callable[[bytes], int]) -> None:
    descriptor = open_with(b"piped")
    found = gather(SourceTree((Source("d/report.json", descriptor),), "x"), files_max=1)
    os.close(descriptor)
    [file] = found.scan.files
    assert (file.path, file.size_bytes, file.executable) == ("x/d/report.json", 5, False)
    assert found.cached_as is None
    assert read(found, file) == read(found, file) == b"piped"
    with open_source(found.source_of(file)) as source:
        assert [bytes(piece) for piece in source.pieces([bytearray(2), bytearray(2)])] == [b"pi", b"pe", b"d"]


def test_an_open_file_that_is_written_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    with (tmp_path / "f").open("r+b") as file:
        found = gather(SourceTree((Source("f", file.fileno()),)), files_max=1)
        file.write(b"C")
        file.flush()
        with pytest.raises(SourceChanged, match="was written"):
            read(found, found.scan.files[0])
        file.truncate(3)
        with pytest.raises(SourceChanged, match="it ended too early"):
            read(found, found.scan.files[0])


async def test_a_pipe_that_brings_nothing_does_not_keep_a_cancelled_reader() -> None:
    reading, writing = os.pipe()
    asked = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def check() -> None:
        token.run_sync_soon(asked.set)
        trio.from_thread.check_cancelled()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, lambda: everything_in(reading, "-", check))
        await asked.wait()
        nursery.cancel_scope.cancel()
    os.close(reading)
    os.close(writing)


def test_what_cannot_be_a_source_is_refused(here: Path) -> None:
    os.mkfifo(here / "pipe")
    for path in ("pipe", "absent", "note.txt/below"):
        with pytest.raises(PathUnusable):
            several(here, path)
    (here / "a\\b").touch()
    with pytest.raises(EntriesRefused, match="a backslash is not allowed"):
        several(here, "a\\b")
    with pytest.raises(InvalidValue, match="give one"):
        SourceTree(())
    with pytest.raises(PathRefused):
        SourceTree((Source("a"),), prefix="../x")
    closed = os.dup(0)
    os.close(closed)
    with pytest.raises(SourceUnreadable):
        gather(SourceTree((Source("a", closed),)), files_max=1)


def test_a_package_is_named_after_its_only_source(here: Path) -> None:
    (here / "current").symlink_to("a")
    (here / "latest.txt").symlink_to("note.txt")
    names = {name: default_name([Source(str(here / name))]) for name in ("a", "a/", "current", "latest.txt")}
    assert names == {"a": "a", "a/": "a", "current": "a", "latest.txt": "latest.txt"}
    assert default_name([Source("d/report.json", 0)]) == "report.json"
    with pytest.raises(InvalidValue, match="several sources"):
        default_name([Source("a"), Source("b")])


def test_archives_are_unpacked_beside_directories(here: Path) -> None:
    shutil.make_archive(str(here / "a"), "gztar", here / "a")
    shutil.make_archive(str(here / "b"), "tar", here / "b")
    sources = (Source(str(here / "a.tar.gz"), unpack=True), Source(str(here / "b"), unpack=True))
    found = gather(SourceTree((*sources, Source(str(here / "note.txt"))), "x"), files_max=100)
    assert contents(found) == {
        "x/b/f": "content of b/f",
        "x/f": "content of a/f",
        "x/note.txt": "content of note.txt",
        "x/sub/g": "content of a/sub/g",
    }
    assert found.scan.links == (("x/b/link", "f"),)
    assert default_name(sources[:1]) == "a"
    with (here / "b.tar").open("rb") as archive:
        piped = gather(SourceTree((Source("-", archive.fileno(), unpack=True),)), files_max=100)
    assert contents(piped) == {"f": "content of b/f"}


def test_first_names_are_removed_from_directories_archives_and_pipes(here: Path) -> None:
    shutil.make_archive(str(here / "packed"), "tar", here, "a")
    archive = Source(str(here / "packed.tar"), unpack=True)
    found = gather(SourceTree((archive,), strip_components=1), files_max=9)
    assert contents(found) == {"f": "content of a/f", "sub/g": "content of a/sub/g"}
    assert found.scan.directories == ("empty",)
    both = SourceTree((Source(str(here / "a")), Source(str(here / "b"))), "x", strip_components=1)
    with pytest.raises(InvalidValue, match="paths would collide: x/f: it occurs twice; strip fewer"):
        gather(both, files_max=20)
    tree = SourceTree((Source(str(here / "b")), Source(str(here / "a" / "sub"))), "x", strip_components=1)
    found = gather(tree, files_max=9)
    assert contents(found) == {"x/f": "content of b/f", "x/g": "content of a/sub/g"}
    assert found.scan.links == (("x/link", "f"),)


def test_names_that_cannot_be_removed_are_refused(here: Path) -> None:
    (here / "a" / "sub" / "out").symlink_to("../f")

    def strip(number: int, *exclude: str) -> Gathered:
        source = Source(str(here / "a"))
        return gather(SourceTree((source,), "x", strip_components=number, selection=Selection(exclude)), files_max=9)

    with pytest.raises(InvalidValue, match="no name would be left of f, empty; leave them out with --exclude"):
        strip(1)
    with pytest.raises(InvalidValue, match="links would lead out of the package: out; leave them out with --links"):
        strip(1, "/f", "/empty")
    assert contents(strip(1, "/f", "/empty", "out")) == {"x/g": "content of a/sub/g"}
    with pytest.raises(InvalidValue, match="from 0"):
        strip(-1)


def test_an_archive_is_found_by_its_content_and_not_by_its_name(here: Path) -> None:
    with pytest.raises(ArchiveRefused, match="it is no tar or zip archive"):
        gather(SourceTree((Source(str(here / "note.txt"), unpack=True),)), files_max=100)
    shutil.make_archive(str(here / "a"), "zip", here / "a")
    (here / "a.zip").rename(here / "note")
    found = gather(SourceTree((Source(str(here / "note"), unpack=True),)), files_max=100)
    assert contents(found) == {"f": "content of a/f", "sub/g": "content of a/sub/g"}
    assert [file.path for file in several(here, "note").scan.files] == ["note"]


def test_an_archive_that_is_written_meanwhile_is_a_change(here: Path) -> None:
    shutil.make_archive(str(here / "b"), "tar", here / "b")
    found = gather(SourceTree((Source(str(here / "b.tar"), unpack=True),)), files_max=100)
    with (here / "b.tar").open("ab") as archive:
        archive.write(b"more")
    with pytest.raises(SourceChanged, match="was written"):
        contents(found)


def noted(note: Metadata) -> dict[str, MetadataValue]:
    check_metadata(note, "annotation")
    return cast("dict[str, MetadataValue]", note[UNREADABLE])


def test_what_is_noted_as_unreadable_adds_up_and_is_forgotten_when_it_is_there() -> None:
    first = unreadable_note(["b\udcff", "a"], [], {})
    assert noted(first) == {"count": 2, "paths": ["a", "b\\udcff"]}
    assert unreadable_note(["b\udcff", "a"], [], first) == first
    assert noted(unreadable_note(["c"], ["a"], first)) == {"count": 2, "paths": ["b\\udcff", "c"]}
    assert unreadable_note([], ["a", "x"], unreadable_note(["a"], [], {})) == {}
    assert unreadable_note([], ["a"], {}) == {}


def test_a_note_fits_beside_all_other_annotations_whatever_the_paths_are() -> None:
    names = [f"{number:04}-{'\U0001f600' * 200}" for number in range(3000)]
    note = unreadable_note(names, [], {})
    assert noted(note)["count"] == 3000
    assert 10 < len(cast("list[str]", noted(note)["paths"])) < 100
    assert unreadable_note(names, [], note) == note
    large: Metadata = {f"k{number}": "x" * 4000 for number in range(15)}
    check_metadata({**large, **unreadable_note(names, [], large)}, "annotation")
    full: Metadata = {f"k{number}": "" for number in range(256)}
    assert unreadable_note(names, [], full) == {}


@pytest.mark.parametrize(
    "other", ["text", {"paths": 5}, {"paths": [1], "count": 1}, {"paths": ["a"], "count": "x"}, {"count": True}, [1]]
)
def test_a_note_that_somebody_else_wrote_is_replaced(other: MetadataValue) -> None:
    assert noted(unreadable_note(["a"], [], {UNREADABLE: other})) == {"count": 1, "paths": ["a"]}


def test_the_refusals_of_all_sources_are_named_at_once(here: Path) -> None:
    for name in "ab":
        os.mkfifo(here / name / "pipe")
    with pytest.raises(EntriesRefused) as refused:
        several(here, "a", "b")
    assert [entry.path for entry in refused.value.entries] == ["a/pipe", "b/pipe"]


def test_a_link_stays_in_its_directory_under_a_prefix_too(here: Path) -> None:
    (here / "a" / "l").symlink_to("../out")
    for prefix in ("", "p", "p/q"):
        with pytest.raises(EntriesRefused, match="leaves the tree") as refused:
            several(here, "a", prefix=prefix)
        assert [entry.path for entry in refused.value.entries] == [f"{prefix}/l" if prefix else "l"]


def test_a_file_without_a_size_is_read_to_its_end() -> None:
    with Path("/proc/version").open("rb") as file:
        found = gather(SourceTree((Source("version", file.fileno()),)), files_max=1)
    assert read(found, found.scan.files[0]) == Path("/proc/version").read_bytes()


def test_a_file_that_may_not_be_read_is_refused_or_left_out_before_anything_is_stored(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denies(_path: bytes, _mode: int, **_how: bool) -> bool:
        return False

    monkeypatch.setattr(os, "access", denies)
    tree = SourceTree((Source(str(here / "note.txt")), Source(str(here / "a"))))
    with pytest.raises(EntriesRefused, match="cannot be read: Permission denied"):
        gather(tree, files_max=9)
    found = gather(replace(tree, skip_unreadable=True), files_max=9)
    assert ([file.path for file in found.scan.files], found.scan.unreadable) == (["a/f", "a/sub/g"], ("note.txt",))


def test_very_many_sources_need_no_deep_stack(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.ingest.scan._TELL_EVERY", 1)
    told: list[int] = []
    for number in range(SOURCES_MAX):
        (here / f"d{number}").mkdir()
        (here / f"d{number}" / "f").touch()
    sources = tuple(Source(str(here / f"d{number}")) for number in range(SOURCES_MAX))
    gather(SourceTree(sources), files_max=2000, tell=lambda files, _size: told.append(files))
    assert told == list(range(1, SOURCES_MAX + 1))


def test_a_descriptor_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(InvalidValue, match="no file has such a number"):
        Source("x", 2**31)
