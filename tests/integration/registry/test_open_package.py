"""Reading an opened package by paths: in trio, in asyncio and in plain programs; whole, in ranges, and damaged."""

import asyncio
import gc
import io
import os
import shutil
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest
import trio
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from artifactstore import Package, PathStat, Registry, Settings, aio, blocking
from artifactstore.blocking import BlockingPackage, BlockingRegistry
from artifactstore.errors import (
    FileNotInPackage,
    InvalidValue,
    LinkLeadsNowhere,
    NotADirectory,
    NotAFile,
    ObjectDamaged,
    PackageNotFound,
    PathRefused,
    StoreClosed,
    WrongEventLoop,
)
from artifactstore_protocols.identity import digest_of
from integration.registry.samples import CHUNK, add, object_file, plant, settings_in, store_threads

pytestmark = pytest.mark.slow

LARGE = bytes(range(256)) * (CHUNK // 128) + b"the end"
SMALL = LARGE[:CHUNK]


def digest_text(content: bytes, algorithm: Literal["blake3", "sha256"] = "blake3") -> str:
    return f"{algorithm}:{digest_of(content, algorithm).hex}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files, links, a loop and an empty directory."""
    root = plant(tmp_path / "tree", {"a.txt": b"hello\r\n", "b/c/d.tar.gz": b"\xff", "b/c/e.txt": b"", "large": LARGE})
    (root / "b" / "empty").mkdir()
    (root / "here").symlink_to("b/c")
    (root / "b" / "c" / "up").symlink_to("../../a.txt")
    (root / "loop").symlink_to("loop")
    (root / "dead").symlink_to("b/nothing")
    return root


@pytest.fixture
def plain(settings: Settings, tree: Path) -> Generator[BlockingRegistry]:
    with blocking.open_registry(settings) as registry:
        registry.ingest_tree(tree, name="nightly")
        yield registry


@pytest.fixture
def package(plain: BlockingRegistry) -> BlockingPackage:
    return plain.open_package("nightly")


def test_a_package_is_looked_up_once(plain: BlockingRegistry, package: BlockingPackage, tree: Path) -> None:
    first = plain.get_package("nightly")
    (tree / "a.txt").write_bytes(b"newer")
    newer = plain.ingest_tree(tree, name="nightly")
    assert (package.package_id, package.name, package.record) == (first.package_id, "nightly", first)
    assert package.path("a.txt").read_bytes() == b"hello\r\n"
    assert plain.open_package("nightly").package_id == newer.package_id
    assert plain.open_package("nightly@{1}").path("a.txt").read_bytes() == b"hello\r\n"
    with pytest.raises(PackageNotFound):
        plain.open_package("weekly")


def test_a_path_is_made_of_parts(package: BlockingPackage) -> None:
    path = package.path() / "b" / "c/d.tar.gz"
    assert str(path) == "b/c/d.tar.gz"
    assert (path.name, path.stem, path.suffix, path.suffixes) == ("d.tar.gz", "d.tar", ".gz", [".tar", ".gz"])
    assert path.parts == ("b", "c", "d.tar.gz")
    assert path.parent == package.path("b//c/") == package.path("b").joinpath("c")
    assert len({path, package.path("b/c/d.tar.gz"), path.parent}) == 2
    assert sorted([path, path.parent]) == [path.parent, path]
    assert path != Path("b/c/d.tar.gz")
    assert repr(path) == "<BlockingPackagePath 'b/c/d.tar.gz' in 'nightly'>"
    root = package.path()
    assert (root.name, root.parts, root.parent, str(root)) == ("", (), root, ".")
    with pytest.raises(PathRefused, match="absolute"):
        package.path("/a.txt")
    with pytest.raises(PathRefused, match="absolute"):
        _ = root / "/a.txt"


def test_a_path_is_no_path_of_the_machine(package: BlockingPackage) -> None:
    with pytest.raises(TypeError):
        os.fspath(package.path("a.txt"))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue,reportArgumentType]


ALL_KINDS = (
    *("", "a.txt", "b", "b/c/up", "b/empty", "here", "here/e.txt", "here/../empty"),
    *("loop", "dead", "x", "a.txt/x"),
)


def test_lookups_answer_as_those_of_an_export_do(
    plain: BlockingRegistry, package: BlockingPackage, tmp_path: Path
) -> None:
    plain.export_package("nightly", exported := tmp_path / "exported")
    for text in (
        "",
        "a.txt",
        "b",
        "b/c/up",
        "b/empty",
        "here",
        "here/e.txt",
        "here/../empty",
        "loop",
        "dead",
        "x",
        "a.txt/x",
    ):
        path, file = package.path(text), exported / text
        assert path.is_symlink() == file.is_symlink(), text
        assert (path.is_file(), path.is_dir()) == (file.is_file(), file.is_dir()), text
        assert path.exists() == (path.is_file() or path.is_dir()), text
        if path.is_file():
            assert path.read_bytes() == file.read_bytes()
            assert path.stat().size_bytes == file.stat().st_size
        if path.is_dir():
            assert [each.name for each in path.iterdir()] == sorted(each.name for each in file.iterdir())
    for pattern in ("*", "b/*", "**/*.txt", "b/c/?p"):
        found = [str(path) for path in package.path().glob(pattern)]
        assert sorted(found) == sorted(str(path.relative_to(exported)) for path in exported.glob(pattern)), pattern
    walked = [(str(at), directories, sorted(files)) for at, directories, files in package.path("b").walk()]
    assert walked == [("b", ["c", "empty"], []), ("b/c", [], ["d.tar.gz", "e.txt", "up"]), ("b/empty", [], [])]


def test_a_path_through_a_link_keeps_its_text(package: BlockingPackage) -> None:
    here = package.path("here")
    assert [str(path) for path in here.iterdir()] == ["here/d.tar.gz", "here/e.txt", "here/up"]
    assert [str(path) for path in here.glob("*.txt")] == ["here/e.txt"]
    assert str((here / "up").resolve()) == "a.txt"
    assert here.readlink() == "b/c"
    assert (here / "up").read_text() == "hello\r\n"


def test_a_stat_has_the_digests_of_a_file(package: BlockingPackage) -> None:
    stat = package.path("b/c/up").stat()
    assert (stat.kind, stat.size_bytes, stat.executable, stat.media_type) == ("file", 7, False, "text/plain")
    assert stat.content_address == digest_text(b"hello\r\n", "blake3")
    assert stat.sha256 == digest_text(b"hello\r\n", "sha256")
    assert package.path("b/c/up").stat(follow_symlinks=False) == PathStat("link")
    assert package.path("b").stat() == package.path("b/empty").stat() == PathStat("directory")


def test_what_cannot_be_read_says_why(package: BlockingPackage) -> None:
    for text, reason in {"loop": "is part of a loop", "loop/x": "is part of a loop", "dead": "no target"}.items():
        path = package.path(text)
        for use in (path.read_bytes, path.open, path.stat, path.iterdir, path.resolve):
            with pytest.raises(LinkLeadsNowhere, match=reason):
                use()
    with pytest.raises(FileNotInPackage):
        package.path("b/x").read_bytes()
    with pytest.raises(FileNotInPackage):
        package.path("a.txt").readlink()
    for text in ("b", "b/empty", "here"):
        with pytest.raises(NotAFile, match="is a directory"):
            package.path(text).open()
    for use in (package.path("a.txt").iterdir, lambda: package.path("a.txt").glob("*")):
        with pytest.raises(NotADirectory, match="is a file of package"):
            use()
    with pytest.raises(InvalidValue, match="give rb"):
        package.path("a.txt").open("r")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnicodeDecodeError):
        package.path("b/c/d.tar.gz").read_text()
    assert package.path("b/c/d.tar.gz").read_text("latin-1") == "\u00ff"


@pytest.mark.parametrize("name", ["a.txt", "b/c/e.txt", "large"])
def test_an_open_file_reads_like_a_file(package: BlockingPackage, tree: Path, name: str) -> None:
    with package.path(name).open() as file, (tree / name).open("rb") as same:
        assert isinstance(file, io.BufferedIOBase)
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        assert file.read() == same.read()
        assert file.read(1) == b""
        for offset, whence in ((0, 0), (3, 0), (-2, 1), (2, 1), (0, 2)):
            assert file.seek(offset, whence) == same.seek(offset, whence)
            assert file.tell() == same.tell()
            assert file.read(3) == same.read(3)
        with pytest.raises(InvalidValue, match="before the beginning"):
            file.raw.seek(-1, 0)
        with pytest.raises(InvalidValue, match="whence"):
            file.raw.seek(0, 7)
        assert file.seek(len(LARGE) + 5) == len(LARGE) + 5
        assert file.read() == b""
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_text_files_and_lines_work(package: BlockingPackage) -> None:
    with io.TextIOWrapper(package.path("a.txt").open(), encoding="utf-8") as text:
        assert list(text) == ["hello\n"]


SEEKS = st.lists(st.tuples(st.integers(0, len(LARGE) + 10), st.integers(0, CHUNK + 10)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Generator[BlockingPackage]:
    directory = tmp_path_factory.mktemp("large")
    with blocking.open_registry(settings_in(directory / "store")) as registry:
        registry.ingest_tree(plant(directory / "tree", {"large": LARGE}), name="large")
        yield registry.open_package("large")


@bounds(max_examples=25)
@given(seeks=SEEKS, sequentially=st.booleans())
def test_any_part_of_a_large_file_can_be_read_in_any_order(
    large: BlockingPackage, seeks: list[tuple[int, int]], sequentially: bool
) -> None:
    with large.path("large").open().detach() as file:
        at = 0
        for offset, size in seeks:
            at = at if sequentially else file.seek(offset)
            assert file.read(size) == LARGE[at : at + size]
            at = file.tell()


def spoil(settings: Settings, content: bytes) -> None:
    """Change the last byte of an object on the disk."""
    path = object_file(settings, digest_text(content))
    assert isinstance(path, Path)
    path.chmod(0o600)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_file_that_is_read_to_its_end_is_checked(
    settings: Settings, plain: BlockingRegistry, package: BlockingPackage
) -> None:
    spoil(settings, LARGE)
    path = package.path("large")
    with pytest.raises(ObjectDamaged):
        path.read_bytes()
    with path.open() as file, pytest.raises(ObjectDamaged):
        shutil.copyfileobj(file, io.BytesIO())
    with path.open() as file:  # a range has no digest to compare with
        file.seek(-3, os.SEEK_END)
        assert file.read() == LARGE[-3:-1] + bytes([LARGE[-1] ^ 1])


def test_any_part_of_a_small_file_is_checked(settings: Settings, tmp_path: Path) -> None:
    with blocking.open_registry(settings) as registry:
        registry.ingest_tree(plant(tmp_path / "small", {"f": SMALL}), name="small")
        spoil(settings, SMALL)
        with registry.open_package("small").path("f").open() as file:
            file.seek(100)
            with pytest.raises(ObjectDamaged):
                file.read(1)


def test_an_object_that_has_grown_is_found(
    settings: Settings, plain: BlockingRegistry, package: BlockingPackage
) -> None:
    path = object_file(settings, digest_text(LARGE))
    assert isinstance(path, Path)
    path.chmod(0o600)
    path.write_bytes(LARGE + b"more")
    with package.path("large").open() as file, pytest.raises(ObjectDamaged):
        file.read()


def test_threads_read_at_once(package: BlockingPackage, tree: Path) -> None:
    names = ["a.txt", "large", "b/c/d.tar.gz", "here/up"] * 4

    def read(name: str) -> bytes:
        return package.path(name).read_bytes()

    with ThreadPoolExecutor(8) as readers:
        for name, content in zip(names, readers.map(read, names), strict=True):
            assert content == (tree / name).read_bytes()


def test_a_closed_store_reads_nothing_and_still_knows_the_tree(settings: Settings, tree: Path) -> None:
    with blocking.open_registry(settings) as registry:
        registry.ingest_tree(tree, name="nightly")
        path = registry.open_package("nightly").path("large")
        file = path.open()
        assert file.read(1) == LARGE[:1]
    with pytest.raises(StoreClosed):
        path.read_bytes()
    with pytest.raises(StoreClosed):
        file.raw.read(1 << 20)
    file.close()
    assert path.stat().size_bytes == len(LARGE)


def test_a_file_that_nobody_closes_does_not_keep_its_store_open(settings: Settings, tree: Path) -> None:
    others = store_threads()
    with blocking.open_registry(settings) as registry:
        registry.ingest_tree(tree, name="nightly")
        files = [registry.open_package("nightly").path("large").open() for _ in range(3)]
        assert {file.read(1) for file in files} == {LARGE[:1]}
        until_tasks_of_storage(registry, 3)
        files.pop().close()
        until_tasks_of_storage(registry, 2)
        del files
        gc.collect()
        until_tasks_of_storage(registry, 0)
        left_open = registry.open_package("nightly").path("large").open()
        assert left_open.read(1) == LARGE[:1]
    assert store_threads() == others


def until_tasks_of_storage(registry: BlockingRegistry, expected: int) -> None:
    """Ask the store until its storage actor serves so many streams: a closed file ends its stream a little later."""
    while len(registry.snapshot().actor("root/core/storage").tasks) != expected:
        registry.get_package("nightly")


async def read_all(package: Package) -> None:
    """What programs with an event loop do: the same in trio and in asyncio."""
    root = package.path()
    assert [path.name for path in root.iterdir()] == ["a.txt", "b", "dead", "here", "large", "loop"]
    assert await (root / "b" / "c" / "up").read_bytes() == b"hello\r\n"
    assert await root.joinpath("a.txt").read_text() == "hello\r\n"
    with pytest.raises(LinkLeadsNowhere):
        await (root / "loop").read_bytes()
    with pytest.raises(NotAFile):
        (root / "b").open()
    with pytest.raises(InvalidValue, match="give rb"):
        (root / "a.txt").open("wb")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with (root / "large").open() as file:
        assert b"".join([piece async for piece in file]) == LARGE
        assert (file.tell(), file.size_bytes) == (len(LARGE), len(LARGE))
        assert file.seek(-5, os.SEEK_END) == len(LARGE) - 5
        assert await file.read(3) == LARGE[-5:-2]
        assert await file.read() == LARGE[-2:]
        with pytest.raises(InvalidValue, match="before the beginning"):
            file.seek(-1)
    with pytest.raises(InvalidValue, match="closed"):
        await file.read()
    await file.aclose()


async def test_a_trio_program_reads(registry: Registry, tree: Path) -> None:
    await registry.ingest_tree(tree, name="nightly")
    await read_all(await registry.open_package("nightly"))


async def test_reads_of_one_file_by_several_tasks_do_not_mix(registry: Registry, tree: Path) -> None:
    await registry.ingest_tree(tree, name="nightly")
    contents = (await registry.open_package("nightly")).opened.access.contents
    file = contents.open(await registry.get_file_record("nightly", "large"))

    async def read(offset: int) -> None:
        assert await file.read_at(offset, 1000) == LARGE[offset : offset + 1000]

    async with trio.open_nursery() as nursery:
        for offset in range(0, 10_000, 1000):
            nursery.start_soon(read, offset)
    file.close()


async def test_an_open_package_is_read_as_it_was(registry: Registry) -> None:
    package_id = (await registry.create_package("open")).package_id
    await add(registry, package_id, "first", b"1")
    package = await registry.open_package("open")
    await add(registry, package_id, "second", b"2")
    assert [path.name for path in package.path().iterdir()] == ["first"]
    assert package.record.status == "open"
    assert await package.path("first").read_bytes() == b"1"
    assert (await registry.open_package("open")).path("second").exists()


async def test_a_read_that_is_given_up_leaves_a_file_that_can_be_read(registry: Registry, tree: Path) -> None:
    await registry.ingest_tree(tree, name="nightly")
    async with (await registry.open_package("nightly")).path("large").open() as file:
        with trio.CancelScope() as scope:
            scope.cancel()
            await file.read(10)
        assert scope.cancelled_caught
        assert await file.read() == LARGE


def test_an_asyncio_program_reads(settings: Settings, tree: Path) -> None:
    async def main() -> None:
        async with aio.open_registry(settings) as registry:
            await registry.ingest_tree(tree, name="nightly")
            package = await registry.open_package("nightly")
            await read_all(package)
            left_open = package.path("large").open()
            await left_open.read(1)
        with pytest.raises(StoreClosed):
            await package.path("a.txt").read_bytes()
        await left_open.aclose()

    asyncio.run(main())


async def test_a_package_of_trio_is_read_in_its_run(registry: Registry, tree: Path) -> None:
    await registry.ingest_tree(tree, name="nightly")
    package = await registry.open_package("nightly")

    def elsewhere() -> None:
        with pytest.raises(WrongEventLoop):
            asyncio.run(package.path("a.txt").read_bytes())

    await trio.to_thread.run_sync(elsewhere)
