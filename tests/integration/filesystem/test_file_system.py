"""The file system beyond what fsspec tests: names of packages, shared stores, threads, processes, refusals, damage."""

import asyncio
import errno
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
import trio

from artifactstore.blocking import open_registry
from artifactstore.config import Settings
from artifactstore.errors import InvalidValue, ObjectDamaged, StoreClosed, StoreNotFound
from artifactstore.fsspec import ArtifactStoreFileSystem, ReadOnlyFileSystem, package_url
from integration.filesystem.stores import ingested
from integration.registry.samples import object_file, plant, store_threads

pytestmark = pytest.mark.slow

CONTENT = b"0123456789" * 10_000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree", {"data/a.bin": CONTENT, "data/b.txt": "two\nlines é\n".encode(), "empty": b""})


@pytest.fixture
def package(settings: Settings, tree: Path) -> str:
    return ingested(settings, tree, "nightly")


def test_a_url_leads_to_the_file_system(package: str, tmp_path: Path) -> None:
    with fsspec.open(
        "artifactstore://nightly/data/b.txt", "rt", store=str(tmp_path / "store"), encoding="utf-8"
    ) as file:
        assert file.read() == "two\nlines é\n"
    ArtifactStoreFileSystem.clear_instance_cache()


def test_a_package_is_named_in_every_form(
    settings: Settings, fs: ArtifactStoreFileSystem, package: str, tree: Path
) -> None:
    (tree / "data" / "a.bin").write_bytes(b"newer")
    newer = ingested(settings, tree, "nightly")
    with open_registry(settings) as registry:
        registry.set_tag("release/4 50%", package)
        record = registry.get_package(package)
        odd = registry.ingest_tree(tree, name="odd/[name]?").package_id
    older = [package, package[-8:], "nightly@{1}", "tag:release/4 50%", f"manifest:{record.manifest_digest}"]
    older += [f"tree:{record.tree_digest}"]
    for name in older:
        assert fs.cat(package_url(name, "data/a.bin")) == CONTENT, name
        (found,) = fs.glob(package_url(name, "data/a*"))
        assert fs.cat(found) == CONTENT
    for name in (newer, "nightly", "nightly@latest", f"nightly@{datetime.now(UTC):%Y-%m-%d}", odd, "odd/[name]?"):
        assert fs.cat(package_url(name, "data/a.bin")) == b"newer", name


def test_a_url_shows_a_name_as_it_is_where_it_can() -> None:
    assert package_url("nightly@{1}", "a/b") == "artifactstore://nightly@{1}/a/b"
    assert package_url("tag:release-4") == "artifactstore://tag:release-4"
    assert package_url("a/b*%", "x%") == "artifactstore://a%2Fb%2A%25/x%"


def test_a_name_keeps_its_package_until_the_cache_is_invalidated(
    settings: Settings, fs: ArtifactStoreFileSystem, package: str, tree: Path
) -> None:
    assert fs.cat("nightly/data/a.bin") == CONTENT
    (tree / "data" / "a.bin").write_bytes(b"newer")
    ingested(settings, tree, "nightly")
    assert fs.cat("nightly/data/a.bin") == CONTENT
    fs.invalidate_cache()
    assert fs.cat("nightly/data/a.bin") == b"newer"


def test_more_packages_than_are_kept_can_be_read(settings: Settings, fs: ArtifactStoreFileSystem, tree: Path) -> None:
    with open_registry(settings) as registry:
        for number in range(12):
            registry.ingest_tree(tree, name=f"run-{number}")
    for number in (*range(12), 0):
        assert fs.isfile(f"run-{number}/data/b.txt")


def test_information_on_a_file_has_its_digests(fs: ArtifactStoreFileSystem, package: str) -> None:
    info = fs.info("artifactstore://nightly/data/a.bin")
    assert (info["name"], info["size"], info["type"]) == ("nightly/data/a.bin", len(CONTENT), "file")
    assert fs.ukey("nightly/data/a.bin") == info["content_address"]
    assert f"{fs.checksum('nightly/data/a.bin'):064x}" == info["content_address"].removeprefix("blake3:")
    assert fs.ukey("nightly/data") != fs.ukey("nightly")
    assert fs.ukey("nightly") == fs.ukey(package)
    assert fs.created("nightly") <= fs.modified("nightly/data/a.bin") <= datetime.now(UTC)
    with pytest.raises(FileNotFoundError):
        fs.modified("nightly/x")


def test_an_open_file_is_buffered_and_can_be_sought(fs: ArtifactStoreFileSystem, package: str) -> None:
    with fs.open("nightly/data/a.bin") as file:
        assert (file.readable(), file.seekable(), file.writable(), file.size) == (True, True, False, len(CONTENT))
        assert file.read(3) == b"012"
        assert file.seek(-2, os.SEEK_END) == len(CONTENT) - 2
        assert file.read() == b"89"
        again = pickle.loads(pickle.dumps(file))  # noqa: S301 - it was pickled here
    assert again.read() == b""
    again.close()
    with fs.open("nightly/data/b.txt", "r", encoding="utf-8") as text:
        assert list(text) == ["two\n", "lines é\n"]
    with fs.open("nightly/empty", cache_type="all") as file:
        assert file.read() == b""
    with fs.open("nightly/data/a.bin", block_size=10, cache_options={}) as file:
        assert [file.read(7) for _ in range(3)] == [CONTENT[:7], CONTENT[7:14], CONTENT[14:21]]


def test_ranges_of_several_files_are_read_in_order(fs: ArtifactStoreFileSystem, package: str) -> None:
    paths = ["nightly/data/a.bin", "nightly/data/a.bin", "nightly/x", "nightly/data/b.txt", "nightly/data"]
    found = fs.cat_ranges(paths, [0, 5, 0, -3, 0], [3, 7, 1, None, 1])
    assert found[:2] + found[3:4] == [b"012", b"56", "é\n".encode()]
    assert [type(found[index]) for index in (2, 4)] == [FileNotFoundError, IsADirectoryError]
    assert fs.cat_ranges(paths[:2], 1, 2) == [b"1", b"1"]
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, 0, 1, on_error="raise")


WRITES: dict[str, Callable[[ArtifactStoreFileSystem, str], object]] = {
    "open wb": lambda fs, _: fs.open("nightly/new", "wb"),
    "open ab": lambda fs, _: fs.open("nightly/new", "ab"),
    "open xb": lambda fs, _: fs.open("nightly/new", "xb"),
    "open w": lambda fs, _: fs.open("nightly/new", "w"),
    "open r+b": lambda fs, _: fs.open("nightly/data/a.bin", "r+b"),
    "pipe": lambda fs, _: fs.pipe("nightly/new", b"x"),
    "put": lambda fs, file: fs.put(file, "nightly/new"),
    "put_file": lambda fs, file: fs.put_file(file, "nightly/new"),
    "mkdir": lambda fs, _: fs.mkdir("nightly/new"),
    "makedirs": lambda fs, _: fs.makedirs("nightly/new", exist_ok=True),
    "rm": lambda fs, _: fs.rm("nightly", recursive=True),
    "rm_file": lambda fs, _: fs.rm_file("nightly/data/a.bin"),
    "touch": lambda fs, _: fs.touch("nightly/data/a.bin"),
    "cp": lambda fs, _: fs.cp("nightly/data/a.bin", "nightly/new"),
    "mv": lambda fs, _: fs.mv("nightly/data/a.bin", "nightly/new"),
    "rmdir": lambda fs, _: fs.rmdir("nightly/data"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_writing_is_refused(
    fs: ArtifactStoreFileSystem, package: str, tree: Path, write: Callable[[ArtifactStoreFileSystem, str], object]
) -> None:
    with pytest.raises(ReadOnlyFileSystem, match="only reads packages") as refused:
        write(fs, str(tree / "empty"))
    assert refused.value.errno == errno.EROFS
    assert fs.find("nightly") == ["nightly/data/a.bin", "nightly/data/b.txt", "nightly/empty"]


def test_what_is_not_there_is_said_as_by_other_file_systems(fs: ArtifactStoreFileSystem, package: str) -> None:
    for missing in ("nightly/x", "nightly/data/a.bin/x", "weekly/a", "nightly/../x"):
        assert not fs.exists(missing)
        with pytest.raises(FileNotFoundError):
            fs.info(missing)
        with pytest.raises(FileNotFoundError):
            fs.open(missing)
    with pytest.raises(IsADirectoryError):
        fs.open("nightly/data")
    for root in ("", "artifactstore://", "/nightly"):
        with pytest.raises(InvalidValue, match="artifactstore://PACKAGE/PATH"):
            fs.ls(root)
    assert not fs.isdir("nightly/data/b.txt")


def test_a_store_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    fs = ArtifactStoreFileSystem(store=str(tmp_path / "nowhere"))
    for question in (fs.exists, fs.isdir, fs.ls, fs.cat, fs.open):
        with pytest.raises(StoreNotFound):
            question("nightly/a")
    assert not (tmp_path / "nowhere").exists()


def test_a_store_is_named_by_a_directory_by_its_parts_or_by_the_settings(
    settings: Settings, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_parts = ArtifactStoreFileSystem(
        database_url=settings.database_url, storage_local_root=str(settings.storage_local_root)
    )
    by_directory = ArtifactStoreFileSystem(store=tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    relative = ArtifactStoreFileSystem(store="store")
    monkeypatch.chdir("/")
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(settings.storage_local_root))
    found = ArtifactStoreFileSystem()
    assert {id(fs.shared) for fs in (by_parts, by_directory, relative, found)} == {id(found.shared)}
    assert found.cat("nightly/data/a.bin") == relative.cat("nightly/data/a.bin") == CONTENT
    for wrong in ({"database_url": "sqlite:///x"}, {"store": "x", "database_url": "y", "storage_local_root": "z"}):
        with pytest.raises(InvalidValue, match="storage options"):
            ArtifactStoreFileSystem(**wrong)
    ArtifactStoreFileSystem.clear_instance_cache()


def test_instances_of_all_threads_share_one_store_that_can_be_closed(fs: ArtifactStoreFileSystem, package: str) -> None:
    def read(number: int) -> bytes:
        other = ArtifactStoreFileSystem(**fs.storage_options)
        assert other.shared is fs.shared
        with other.open("nightly/data/a.bin") as file:
            file.seek(number)
            return bytes(file.read(5))

    before = store_threads()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(40))) == [CONTENT[number : number + 5] for number in range(40)]
    assert store_threads().count("artifactstore") == before.count("artifactstore") + 1
    left_open = fs.open("nightly/data/a.bin")
    fs.close()
    assert store_threads() == before
    with pytest.raises(StoreClosed):
        left_open.read()
    left_open.close()
    assert fs.cat("nightly/data/a.bin") == CONTENT
    ArtifactStoreFileSystem.clear_instance_cache()
    assert store_threads() == before


def test_an_instance_is_sent_to_another_process_by_its_options(fs: ArtifactStoreFileSystem, package: str) -> None:
    sent = pickle.dumps(fs)
    program = "import pickle, sys; print(len(pickle.load(sys.stdin.buffer).cat('nightly/data/a.bin')))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], input=sent, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (f"{len(CONTENT)}\n".encode(), b"")


FORK = """
import os, sys
from artifactstore.errors import StoreClosed, WrongProcess
from artifactstore.fsspec import ArtifactStoreFileSystem
fs = ArtifactStoreFileSystem(store=sys.argv[1])
opened = fs.open("nightly/data/a.bin", cache_type="none")
opened.read(1)
child = os.fork()
if child == 0:
    try:
        opened.read(1)
    except WrongProcess:
        print("child", len(fs.cat("nightly/data/a.bin")), flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
print("parent", status, len(fs.cat("nightly/data/a.bin")), opened.read(1))
"""


def test_a_forked_process_opens_the_store_again(package: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path / "store")], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"child {len(CONTENT)}", f"parent 0 {len(CONTENT)} b'1'"]


def test_a_program_that_closes_nothing_ends_well(package: str, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom artifactstore.fsspec import ArtifactStoreFileSystem\n"
        "file = ArtifactStoreFileSystem(store=sys.argv[1]).open('nightly/data/a.bin')\nprint(file.read(3))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("b'012'\n", "")


async def test_a_program_with_an_event_loop_may_read(fs: ArtifactStoreFileSystem, package: str) -> None:
    """pandas and its like cannot await. They block the loop of a notebook as reading a file would."""
    assert fs.cat("nightly/data/a.bin") == CONTENT

    async def on_asyncio() -> None:
        with fs.open("nightly/data/a.bin") as file:
            assert file.read() == CONTENT
        fs.close()
        assert fs.ls("nightly", detail=False) == ["nightly/data", "nightly/empty"]

    await trio.to_thread.run_sync(partial(asyncio.run, on_asyncio()))


def test_damage_is_found(settings: Settings, fs: ArtifactStoreFileSystem, package: str, tmp_path: Path) -> None:
    content = object_file(settings, fs.ukey("nightly/data/a.bin"))
    assert isinstance(content, Path)
    content.chmod(0o600)
    content.write_bytes(CONTENT[:-1] + b"x")
    reads: list[Callable[[], Any]] = [
        lambda: fs.cat("nightly/data/a.bin"),
        lambda: fs.cat_file("nightly/data/a.bin", 5, 6),
        lambda: fs.open("nightly/data/a.bin").read(1),
        lambda: fs.get("nightly/data/a.bin", str(tmp_path / "copy")),
        lambda: io.TextIOWrapper(fs.open("nightly/data/a.bin")).readline(),
    ]
    for read in reads:
        with pytest.raises(ObjectDamaged):
            read()
