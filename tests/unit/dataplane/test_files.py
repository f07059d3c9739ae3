"""Files are ingested whole and unchanged, each with its own answer; what is no ordinary file is not waited for."""

import os
import socket
import threading
from collections.abc import Buffer, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from artifactstore.backends.local_writer import LocalWriter
from artifactstore.dataplane import ingest
from artifactstore.dataplane.source import Directories, open_source
from artifactstore_protocols.dataplane import (
    DataPlane,
    FileSource,
    IngestResult,
    SourceChanged,
    SourceDiffers,
    SourceRefused,
    SourceUnreadable,
)
from artifactstore_protocols.errors import ArtifactStoreError
from artifactstore_protocols.identity import ContentHasher
from artifactstore_protocols.object_keys import next_key
from artifactstore_protocols.storage import Place, StorageFull
from unit.dataplane.samples import (
    LARGE,
    address_of,
    digests_of,
    ingest_file,
    known,
    objects_in,
    read,
    temp_files_in,
    verified,
)

SMALL = b"a small file"
CONTENTS = [SMALL, LARGE]
SIZES = ["small", "large"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    return tree


@pytest.mark.parametrize("content", CONTENTS, ids=SIZES)
async def test_a_file_is_stored_only_if_it_holds_what_was_expected(
    plane: DataPlane, root: Path, tree: Path, content: bytes
) -> None:
    (tree / "right").write_bytes(content)
    (tree / "wrong").write_bytes(content + b"!")
    expected = digests_of(content)
    names = ["wrong", "right", "wrong"]
    answers = await plane.ingest_files([FileSource(name, str(tree), expected) for name in names])
    assert [isinstance(answer, IngestResult) for answer in answers] == [False, True, False]
    assert isinstance(answers[0], SourceDiffers)
    assert str(answers[0]) == f"'wrong' does not hold {expected.content_address}; take another copy of it"
    other_sha = replace(expected, sha256=digests_of(b"other").sha256)
    (answer,) = await plane.ingest_files([FileSource("right", str(tree), other_sha)])
    assert isinstance(answer, SourceDiffers), "both digests count"
    assert [path.name for path in objects_in(root)] == [expected.primary.hex]
    assert temp_files_in(root) == []


async def test_contents_in_memory_are_stored_together(plane: DataPlane, root: Path) -> None:
    answers = await plane.ingest_contents([b"", SMALL, LARGE, SMALL])
    results = [answer for answer in answers if isinstance(answer, IngestResult)]
    assert [result.digests for result in results] == [digests_of(content) for content in (b"", SMALL, LARGE, SMALL)]
    assert {path.name for path in objects_in(root)} == {result.digests.primary.hex for result in results}
    assert await read(plane, LARGE) == LARGE
    assert temp_files_in(root) == []


async def test_many_objects_are_looked_up_at_once(plane: DataPlane, tree: Path) -> None:
    (tree / "small").write_bytes(SMALL)
    await plane.ingest_files([FileSource("small", str(tree))])
    found = await plane.stat_objects([known(b"absent"), known(SMALL)])
    assert found == [None, len(SMALL)]


async def test_a_batch_is_answered_in_order_whatever_happens_to_each(plane: DataPlane, root: Path, tree: Path) -> None:
    (tree / "empty").write_bytes(b"")
    (tree / "small").write_bytes(SMALL)
    (tree / "large").write_bytes(LARGE)
    (tree / "sub" / "deep" / "again").write_bytes(SMALL)
    names = ["large", "absent", "small", "sub", "sub/deep/again", "empty", "sub/deep/absent", "large"]
    answers = await plane.ingest_files([FileSource(name, str(tree)) for name in names])
    outcomes = [answer.receipt.outcome if isinstance(answer, IngestResult) else answer for answer in answers]
    assert [str(outcome) for outcome in outcomes] == [
        "stored",
        str(SourceUnreadable("absent", "ENOENT")),
        "stored",
        str(SourceRefused("sub", "it is a directory")),
        "deduplicated",
        "stored",
        str(SourceUnreadable("sub/deep/absent", "ENOENT")),
        "deduplicated",
    ]
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, IngestResult):
            content = (tree / name).read_bytes()
            assert (answer.digests, answer.size_bytes) == (digests_of(content), len(content))
            assert await read(plane, content) == content
        else:
            assert (answer.__traceback__, answer.__context__, answer.__cause__) == (None, None, None)
    assert len(objects_in(root)) == 3
    assert temp_files_in(root) == []


async def test_an_empty_batch_has_no_answers(plane: DataPlane) -> None:
    assert await plane.ingest_files([]) == []


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link_to_a_file(path: Path) -> None:
    (path.parent / "target").write_bytes(SMALL)
    path.symlink_to("target")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


KINDS = [make_pipe, make_socket, make_directory, make_link_to_a_file, make_dangling_link]


@pytest.mark.parametrize("below_root", [True, False])
@pytest.mark.parametrize("make", KINDS)
async def test_what_is_no_ordinary_file_is_refused(
    plane: DataPlane, root: Path, tree: Path, make: Callable[[Path], None], below_root: bool
) -> None:
    make(tree / "odd")
    source = FileSource("odd", str(tree)) if below_root else FileSource(str(tree / "odd"))
    (answer,) = await plane.ingest_files([source])
    assert isinstance(answer, SourceRefused)
    assert (answer.path, objects_in(root)) == (source.path, [])


async def test_a_device_is_refused(plane: DataPlane) -> None:
    with pytest.raises(SourceRefused, match="device"):
        await ingest_file(plane, Path("/dev/zero"))


@pytest.mark.parametrize("make", KINDS)
def test_what_is_swapped_for_an_ordinary_file_is_not_waited_for(
    tree: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    """Between the first look at a file and its opening, somebody may put something else in its place."""
    path = tree / "swapped"
    path.write_bytes(SMALL)
    real_stat = os.stat

    def swap_after_the_look(name: str, *, dir_fd: int | None, follow_symlinks: bool) -> os.stat_result:
        found = real_stat(name, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        monkeypatch.undo()
        path.unlink()
        make(path)
        return found

    monkeypatch.setattr(os, "stat", swap_after_the_look)
    with pytest.raises((SourceRefused, SourceUnreadable)), open_source(FileSource("swapped", str(tree))):
        pass


async def test_no_link_on_the_way_is_followed(plane: DataPlane, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (tree / "sub" / "way-out").symlink_to(tmp_path / "outside")
    (tree / "file").write_bytes(b"")
    names = ["sub/way-out/secret", "file/below"]
    answers = await plane.ingest_files([FileSource(name, str(tree)) for name in names])
    assert [str(answer) for answer in answers] == [
        str(SourceRefused(name, f"{name.split('/')[-2]!r} in it is a symbolic link or no directory")) for name in names
    ]


async def test_a_root_that_is_not_there_is_told(plane: DataPlane, tmp_path: Path) -> None:
    (answer,) = await plane.ingest_files([FileSource("a", str(tmp_path / "absent"))])
    assert isinstance(answer, SourceUnreadable)


async def test_a_name_in_no_encoding_is_a_name(plane: DataPlane, tree: Path) -> None:
    name = os.fsdecode(b"n\xff")
    (tree / name).write_bytes(SMALL)
    (answer,) = await plane.ingest_files([FileSource(name, str(tree))])
    assert isinstance(answer, IngestResult)


def grow(path: Path) -> None:
    with path.open("ab") as writer:
        writer.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 5)


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 0))


def overwrite_in_secret(path: Path) -> None:
    """Other bytes of the same length, and the modification time set back: only the change time tells."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # its clock ticks a few hundred times a second
        with path.open("r+b") as writer:
            writer.write(b"!")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something once, just before the first bytes of a file are read."""
    real_read, real_readv = os.read, os.readv

    def arrange(act: Callable[[], None]) -> None:
        def read(fd: int, length: int) -> bytes:
            monkeypatch.undo()
            act()
            return real_read(fd, length)

        def readv(fd: int, buffers: list[memoryview]) -> int:
            monkeypatch.undo()
            act()
            return real_readv(fd, buffers)

        monkeypatch.setattr(os, "read", read)
        monkeypatch.setattr(os, "readv", readv)

    return arrange


@pytest.mark.parametrize("change", [grow, shrink, touch, overwrite_in_secret, empty])
@pytest.mark.parametrize("content", CONTENTS, ids=SIZES)
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path,
    meanwhile: Callable[[Callable[[], None]], None],
    content: bytes,
    change: Callable[[Path], None],
) -> None:
    path = tmp_path / "changing"
    path.write_bytes(content)
    meanwhile(lambda: change(path))
    with open_source(FileSource(str(path))) as opened, pytest.raises(SourceChanged):
        opened.read_whole() if content is SMALL else list(opened.pieces([bytearray(1 << 20)]))


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="only Linux has files without a size")
def test_a_file_of_another_length_than_its_size_is_refused_for_that() -> None:
    with open_source(FileSource("/proc/self/limits")) as opened:
        with pytest.raises(SourceRefused, match="size is given as 0 bytes"):
            opened.read_whole()
        with pytest.raises(SourceRefused, match="as in /proc"):
            list(opened.pieces([bytearray(10)]))


def test_a_file_that_grows_for_ever_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100)
    read: list[int] = []

    def follow(pieces: Iterator[memoryview]) -> None:
        for piece in pieces:
            read.append(len(piece))
            path.write_bytes(b"x" * (sum(read) + 100))

    with open_source(FileSource(str(path))) as opened, pytest.raises(SourceChanged, match="100 bytes, then"):
        follow(opened.pieces([bytearray(10), bytearray(7)]))
    assert sum(read) <= 100


@pytest.mark.parametrize("content", CONTENTS, ids=SIZES)
async def test_a_changing_file_fails_alone_and_leaves_nothing(
    plane: DataPlane,
    root: Path,
    tree: Path,
    meanwhile: Callable[[Callable[[], None]], None],
    content: bytes,
) -> None:
    (tree / "changing").write_bytes(content)
    (tree / "calm").write_bytes(b"calm")
    meanwhile(lambda: grow(tree / "changing"))
    batch = [FileSource("changing", str(tree)), FileSource("calm", str(tree))]
    if content is LARGE:  # the small one is read first
        batch.pop()
    answers = await plane.ingest_files(batch)
    assert [type(answer) for answer in answers] == [SourceChanged, IngestResult][: len(batch)]
    assert len(objects_in(root)) == len(batch) - 1
    assert temp_files_in(root) == []


def test_a_file_that_comes_in_little_pieces_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems return less than was asked for."""
    real_read = os.read

    def little(fd: int, length: int) -> bytes:
        return real_read(fd, min(length, 5))

    (tmp_path / "file").write_bytes(SMALL)
    monkeypatch.setattr(os, "read", little)
    with open_source(FileSource("file", str(tmp_path))) as opened:
        assert opened.read_whole() == SMALL


@pytest.mark.parametrize("content", CONTENTS, ids=SIZES)
async def test_a_file_that_cannot_be_read_to_its_end_is_told(
    plane: DataPlane, root: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    def failing(fd: int, what: object) -> int:
        raise OSError(5, "Input/output error")

    (tree / "bad").write_bytes(content)
    monkeypatch.setattr(os, "read", failing)
    monkeypatch.setattr(os, "readv", failing)
    (answer,) = await plane.ingest_files([FileSource("bad", str(tree))])
    monkeypatch.undo()
    assert isinstance(answer, SourceUnreadable)
    assert (answer.path, answer.cause) == ("bad", "EIO")
    assert objects_in(root) == temp_files_in(root) == []


async def test_files_that_there_is_no_room_for_are_refused_one_by_one(
    plane: DataPlane, root: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, view: memoryview) -> None:
        raise OSError(28, "No space left on device")

    (tree / "small").write_bytes(SMALL)
    (tree / "large").write_bytes(LARGE)
    monkeypatch.setattr("artifactstore.backends.local_batch.write_all", full)
    monkeypatch.setattr("artifactstore.backends.local_writer.write_all", full)
    answers = await plane.ingest_files([FileSource(name, str(tree)) for name in ("large", "small", "absent")])
    assert [type(answer) for answer in answers] == [StorageFull, StorageFull, SourceUnreadable]
    assert objects_in(root) == temp_files_in(root) == []


@pytest.mark.parametrize("content", CONTENTS, ids=SIZES)
async def test_a_file_goes_to_the_next_key_where_other_bytes_are_or_to_the_place_that_is_asked_for(
    plane: DataPlane, root: Path, tree: Path, content: bytes
) -> None:
    path = tree / "file"
    path.write_bytes(content)
    await ingest_file(plane, path)
    (stored,) = objects_in(root)
    stored.chmod(0o644)
    stored.write_bytes(content[::-1])
    first = known(content).place
    third = Place(first.backend_id, next_key(next_key(first.object_key)))
    keys: list[str] = []
    for places in ({}, {address_of(content): third}):
        (answer,) = await plane.ingest_files([FileSource(str(path))], places=places)
        assert isinstance(answer, IngestResult)
        assert answer.receipt.outcome == "stored"
        keys.append(answer.receipt.object_key)
    assert keys == [next_key(first.object_key), third.object_key]
    assert stored.read_bytes() == content[::-1]


@pytest.mark.parametrize("content", CONTENTS, ids=SIZES)
async def test_a_cancelled_batch_stops_before_its_next_piece_and_leaves_nothing(
    plane: DataPlane, root: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    for name in "abc":
        (tree / name).write_bytes(content + name.encode())
    opened: list[str] = []

    def cancel_at_the_last(source: FileSource, *directories: Directories) -> object:
        opened.append(source.path)
        if len(opened) == (2 if content is SMALL else 4):  # each large file is looked at first
            trio.from_thread.run_sync(scope.cancel)
        return open_source(source, *directories)

    monkeypatch.setattr(ingest, "open_source", cancel_at_the_last)
    with trio.CancelScope() as scope:
        await plane.ingest_files([FileSource(name, str(tree)) for name in "abc"])
    assert scope.cancelled_caught
    assert objects_in(root) == temp_files_in(root) == []
    assert len(opened) < 6


async def test_many_batches_at_once_share_few_threads(plane: DataPlane, root: Path, tree: Path) -> None:
    for number in range(40):
        (tree / str(number)).write_bytes(b"%d" % (number // 2))
    answers: list[IngestResult | ArtifactStoreError] = []

    async def ingest_some(start: int) -> None:
        batch = [FileSource(str(number), str(tree)) for number in range(start, start + 5)]
        answers.extend(await plane.ingest_files(batch))

    async with trio.open_nursery() as nursery:
        for start in range(0, 40, 5):
            nursery.start_soon(ingest_some, start)
    assert [answer for answer in answers if not isinstance(answer, IngestResult)] == []
    assert len(objects_in(root)) == 20


async def test_a_piece_of_a_large_file_is_hashed_twice_and_written_while_the_next_one_is_read(
    plane: DataPlane, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four meet at one point, which a thread that does two of these things never reaches."""
    together = threading.Barrier(4, timeout=60)
    readv, feeds, write = os.readv, ContentHasher.feeds, LocalWriter.write
    reads: list[int] = []

    def met(use: Callable[[Buffer], None]) -> Callable[[Buffer], None]:
        first = [True]

        def meet_once(piece: Buffer) -> None:
            if first:
                first.clear()
                together.wait()
            use(piece)

        return meet_once

    def read_and_meet(fd: int, buffers: list[memoryview]) -> int:
        reads.append(fd)
        if len(reads) == 2:
            together.wait()
        return readv(fd, buffers)

    writing: list[Callable[[Buffer], None]] = []

    def write_and_meet(writer: LocalWriter, piece: Buffer) -> None:
        if not writing:
            writing.append(met(partial(write, writer)))
        writing[0](piece)

    def feeds_that_meet(hasher: ContentHasher) -> tuple[Callable[[Buffer], None], ...]:
        return tuple(map(met, feeds(hasher)))

    monkeypatch.setattr(os, "readv", read_and_meet)
    monkeypatch.setattr(ContentHasher, "feeds", feeds_that_meet)
    monkeypatch.setattr(LocalWriter, "write", write_and_meet)
    (tree / "large").write_bytes(LARGE)
    result = await ingest_file(plane, tree / "large")
    monkeypatch.undo()
    assert (result.digests, result.size_bytes) == (digests_of(LARGE), len(LARGE))
    assert await read(plane, LARGE) == LARGE


async def test_a_piece_is_not_read_into_a_buffer_that_is_in_use(
    plane: DataPlane, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hash and the writer falls behind in its turn, as far as it can; the bytes are right nevertheless."""
    content = LARGE * 5
    (tree / "large").write_bytes(content)
    pieces = 6
    readv, feeds = os.readv, ContentHasher.feeds
    reads: list[int] = []
    ahead = threading.Event()

    def slow(use: Callable[[Buffer], None]) -> Callable[[Buffer], None]:
        def behind(piece: Buffer) -> None:
            assert ahead.wait(60)
            use(piece)

        return behind

    def read(fd: int, buffers: list[memoryview]) -> int:
        reads.append(fd)
        if len(reads) == ingest._BUFFERS:  # pyright: ignore[reportPrivateUsage] - the last one that is free
            ahead.set()
        return readv(fd, buffers)

    def slow_feeds(hasher: ContentHasher) -> tuple[Callable[[Buffer], None], ...]:
        return tuple(map(slow, feeds(hasher)))

    monkeypatch.setattr(os, "readv", read)
    monkeypatch.setattr(ContentHasher, "feeds", slow_feeds)
    result = await ingest_file(plane, tree / "large")
    monkeypatch.undo()
    assert len(reads) >= pieces
    assert result.digests == digests_of(content)
    assert (await verified(plane, content)).status == "ok"


async def test_a_directory_is_opened_once_for_the_files_that_are_in_it(
    plane: DataPlane, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["sub/a", "sub/b", "sub/deep/c", "sub/deep/d", "e"]
    for name in names:
        (tree / name).write_bytes(name.encode())
    real_open, opened = os.open, list[str]()

    def counting(path: str | bytes, flags: int, *mode: int, dir_fd: int | None = None) -> int:
        if (flags & os.O_DIRECTORY and str(tree) in os.fsdecode(path)) or dir_fd is not None:
            opened.append(os.fsdecode(path))
        return real_open(path, flags, *mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", counting)
    answers = await plane.ingest_files([FileSource(name, str(tree)) for name in names])
    monkeypatch.undo()
    assert [answer.digests for answer in answers if isinstance(answer, IngestResult)] == [
        digests_of(name.encode()) for name in names
    ]
    root = str(tree)
    assert opened == [root, "sub", "a", "b", root, "sub", "deep", "c", "d", root, "e"]


async def test_no_descriptor_is_left_open(plane: DataPlane, tree: Path) -> None:
    (tree / "sub" / "file").write_bytes(SMALL)
    (tree / "link").symlink_to("sub")
    sources = [FileSource(name, str(tree)) for name in ("sub/file", "link/file", "absent/file", "sub/absent")]
    counts: list[int] = []
    for _run in range(3):  # the first one opens what the backend keeps open
        for source in sources:
            await plane.ingest_files([source])
        counts.append(sum(1 for _ in os.scandir("/dev/fd")))
    assert counts[2] == counts[1]


def test_the_content_of_a_file_is_in_no_log_and_no_error() -> None:
    assert "secret" not in repr(FileSource("path", content=b"secret"))
