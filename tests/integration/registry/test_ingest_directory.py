"""A directory into a package: each file with its bit and type, links by rule, and nothing of a tree that is refused."""

import os
import socket
import subprocess
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.backends.small import SmallBackend
from artifactstore.database.store import SqlEventStore
from artifactstore.errors import (
    EntriesRefused,
    PathUnusable,
    TargetRefused,
    TreeTooLarge,
)
from artifactstore.ingest.steps import BATCHES_TOGETHER
from artifactstore.storage import StorageActor
from artifactstore_protocols.commands import CommandRequest
from artifactstore_protocols.dataplane import IngestResult, SourceChanged, SourceRefused
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.links import LinkPolicy
from artifactstore_protocols.messages import StoreFiles
from artifactstore_protocols.packages import PackageFinalizedAlready, PackageNotFound, PathTaken
from artifactstore_protocols.paths import PathRefused, check_path
from artifactstore_protocols.records import IngestProgress
from artifactstore_protocols.retention import UnknownRetentionClass
from integration.registry.samples import (
    actors,
    add,
    check_sound,
    content_of,
    objects,
    paths_in,
    plant,
    quiet,
    temp_files,
    whole_log,
)

NAMES = ["with space", "\U0001f600", "cafe\u0301", "x" * 255, "\u00fc" * 127, "-rf", "$(touch x)", "a'b\"c", "1.tar.gz"]


async def test_every_name_that_a_path_may_have(registry: Registry, tree: Path, tmp_path: Path) -> None:
    plant(tree, {f"dir/{name}": name.encode() for name in NAMES})
    summary = await registry.ingest_tree(tree)
    assert summary.name == tree.name
    assert await paths_in(registry, summary.package_id) == sorted(f"dir/{name}" for name in NAMES)
    for name in NAMES:
        assert await content_of(registry, summary.package_id, f"dir/{name}") == name.encode()
    report = await registry.export_package(summary.package_id, tmp_path / "out")
    assert (report.files, report.bytes) == (summary.files, summary.bytes)
    assert {path.name for path in (tmp_path / "out" / "dir").iterdir()} == set(NAMES)


async def test_bits_and_types_are_kept_and_restored(registry: Registry, tree: Path, tmp_path: Path) -> None:
    plant(tree, {"run.sh": b"#!/bin/sh\n", "data.json": b"{}", "deep/er/still": b"x"})
    (tree / "run.sh").chmod(0o750)
    (tree / "empty").mkdir()
    summary = await registry.ingest_tree(tree, name="t", metadata={"commit": "abc"}, retention="long", principal="ci")
    found = {file.path: (file.executable, file.media_type) for file in await registry.list_files(summary.package_id)}
    assert found == {
        "data.json": (False, "application/json"),
        "deep/er/still": (False, "application/octet-stream"),
        "empty": (False, ""),
        "run.sh": (True, "application/x-sh"),
    }
    package = await registry.get_package("t")
    assert (package.retention_class, package.metadata, package.created_by) == ("long", {"commit": "abc"}, "ci")
    progress: list[IngestProgress] = []
    await registry.export_package(summary.package_id, tmp_path / "out", progress=progress.append)
    assert (progress[-1].files, progress[-1].bytes) == (3, 13)
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "out" / "data.json", os.X_OK)
    assert list((tmp_path / "out" / "empty").iterdir()) == []


async def test_an_export_goes_to_a_new_or_empty_place(registry: Registry, tree: Path, tmp_path: Path) -> None:
    summary = await registry.ingest_tree(plant(tree, {"a": b"a"}))
    for taken in (tree, tree / "a", tree / "a" / "below"):
        with pytest.raises(TargetRefused):
            await registry.export_package(summary.package_id, taken)
    with pytest.raises(PackageNotFound):
        await registry.export_package("no such package", tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_an_empty_directory_is_an_empty_package(registry: Registry, tree: Path) -> None:
    summary = await registry.ingest_tree(tree, name="empty")
    assert (summary.files, summary.bytes, summary.deduplicated_bytes, summary.sequence) == (0, 0, 0, 3)
    package = (await registry.create_package("open")).package_id
    result = await registry.ingest_directory(package, tree)
    assert (result.files, result.bytes, result.unchanged_files) == (0, 0, 0)


async def test_equal_contents_are_stored_once_and_counted_from_the_log(
    registry: Registry, settings: Settings, tree: Path
) -> None:
    plant(tree, {"a": b"same", "b": b"same", "c": b"other"})
    first = await registry.ingest_tree(tree, name="first", idempotency_key="first")
    assert (first.bytes, first.deduplicated_bytes) == (13, 4)
    second = await registry.ingest_tree(tree, name="second")
    assert (second.bytes, second.deduplicated_bytes) == (13, 13)
    assert sorted(objects(settings).values()) == [b"other", b"same"]
    await registry.replay()
    assert await registry.ingest_tree(tree, name="first", idempotency_key="first") == first, (
        "the same for every caller, at any time"
    )


async def test_links_that_are_followed_are_what_they_lead_to(registry: Registry, tree: Path) -> None:
    plant(tree, {"real/file": b"content"})
    (tree / "link").symlink_to("real/file")
    (tree / "directory").symlink_to("real")
    (tree / "absolute").symlink_to(tree / "real" / "file")
    package = (await registry.ingest_tree(tree, links=LinkPolicy.FOLLOW)).package_id
    assert await paths_in(registry, package) == ["absolute", "directory/file", "link", "real/file"]
    assert await content_of(registry, package, "directory/file") == b"content"


def _link_out(tree: Path) -> None:
    (tree / "z").symlink_to("/etc/hostname")


def _link_up(tree: Path) -> None:
    (tree / "z").symlink_to("../outside")


def _link_to_nothing(tree: Path) -> None:
    (tree / "z").symlink_to("nowhere")


def _link_in_a_circle(tree: Path) -> None:
    (tree / "z").symlink_to("z")


def _link_to_above(tree: Path) -> None:
    (tree / "z").symlink_to(".")


def _fifo(tree: Path) -> None:
    os.mkfifo(tree / "z")


def _socket(tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tree)  # a socket's path must be short
        try:
            listener.bind("z")
        finally:
            os.chdir(here)


def _same_under_nfc(tree: Path) -> None:
    plant(tree, {"z\u00e9": b"", "ze\u0301": b""})


def _file_and_directory_same_under_nfc(tree: Path) -> None:
    plant(tree, {"z\u00e9": b"", "ze\u0301/below/it": b""})


def _directory_and_file_same_under_nfc(tree: Path) -> None:
    plant(tree, {"ze\u0301": b"", "z\u00e9/below/it": b""})


def _backslash(tree: Path) -> None:
    plant(tree, {"z\\": b""})


def _control_character(tree: Path) -> None:
    plant(tree, {"z\n": b""})


def _no_utf_8(tree: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/z\xff")).touch()


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (_link_out, "leaves the tree"),
    (_link_up, "leaves the tree"),
    (_link_to_nothing, "leads to nothing"),
    (_link_in_a_circle, "circle"),
    (_link_to_above, "directory above itself"),
    (_fifo, "is a FIFO"),
    (_socket, "is a socket"),
    (_same_under_nfc, "NFC"),
    (_file_and_directory_same_under_nfc, "cannot be below it"),
    (_directory_and_file_same_under_nfc, "cannot be below it"),
    (_backslash, "backslash"),
    (_control_character, "control"),
    (_no_utf_8, "UTF-8"),
]


@pytest.mark.parametrize(("spoil", "reason"), REFUSED, ids=[spoil.__name__[1:] for spoil, _reason in REFUSED])
async def test_a_tree_that_cannot_be_kept_is_refused_before_anything_is_stored(
    registry: Registry, settings: Settings, tree: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    plant(tree.parent, {"outside": b"not for the store"})
    plant(tree, {"a good file": b"content"})
    spoil(tree)
    with pytest.raises((EntriesRefused, PathRefused), match=reason):
        await registry.ingest_tree(tree, links=LinkPolicy.FOLLOW)
    assert await whole_log(registry) == []
    assert objects(settings) == {}
    assert all(actor.starts == 1 for actor in actors(registry))


@pytest.mark.parametrize(
    ("principal", "key"), [("", None), ("a\n", None), ("a", ""), ("a", "\ud800"), ("a", "x" * 201)]
)
async def test_a_caller_that_no_command_can_have_is_refused_before_anything_is_stored(
    registry: Registry, settings: Settings, tree: Path, principal: str, key: str | None
) -> None:
    plant(tree, {"a": b"content"})
    package = (await registry.create_package("p")).package_id
    with pytest.raises(InvalidValue, match="principal" if key is None else "idempotency key"):
        await registry.ingest_tree(tree, principal=principal, idempotency_key=key)
    with pytest.raises(InvalidValue, match="principal" if key is None else "idempotency key"):
        await registry.ingest_file(package, "a", tree / "a", principal=principal, idempotency_key=key)
    if key is None:
        with pytest.raises(InvalidValue, match="principal"):
            await registry.ingest_directory(package, tree, principal=principal)
    assert len(await whole_log(registry)) == 2
    assert objects(settings) == {}


async def test_what_is_neither_file_nor_directory_is_refused(registry: Registry, tree: Path) -> None:
    plant(tree, {"file": b""})
    os.mkfifo(tree / "pipe")
    package = (await registry.create_package("p")).package_id
    for path in (tree / "pipe", tree / "absent", tree / "file" / "below"):
        with pytest.raises(PathUnusable):
            await registry.ingest_directory(package, path)
        with pytest.raises(PathUnusable):
            await registry.ingest_tree(path)
    assert len(await whole_log(registry)) == 2


@pytest.fixture
def deep(tree: Path) -> Generator[str]:
    """A file below a thousand directories in the tree: its path, which the rules for paths allow."""
    at = os.open(tree, os.O_RDONLY)
    for _level in range(1000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    yield "d/" * 1000 + "file"
    subprocess.run(["rm", "-r", "--", tree / "d"], check=True)  # shutil.rmtree is not up to it


@pytest.mark.slow
async def test_depth_is_no_limit_but_that_of_a_path(registry: Registry, tree: Path, deep: str) -> None:
    package = (await registry.ingest_tree(tree)).package_id
    assert await paths_in(registry, package) == [deep]
    assert all(actor.starts == 1 for actor in actors(registry)), "an actor crashed"


@pytest.mark.parametrize("wide", [True, False], ids=["one directory", "many directories"])
async def test_a_scan_that_is_cancelled_ends_in_its_midst(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch, *, wide: bool
) -> None:
    """A signal ends a command by cancelling it; so it must end a scan of whatever size."""
    for name in range(1000):
        (tree / f"{name}").touch() if wide else (tree / f"{name}").mkdir()
    (tree / ("last" if wide else "999/last")).touch()
    looked_at = 0

    with trio.CancelScope() as scope:

        def counting(path: str) -> str:
            nonlocal looked_at
            looked_at += 1
            if looked_at == 1:
                trio.from_thread.run_sync(scope.cancel)
            return check_path(path)

        monkeypatch.setattr("artifactstore.ingest.scan.check_path", counting)
        await registry.ingest_tree(tree)
    assert scope.cancelled_caught
    await quiet(registry)
    assert looked_at < 1001
    assert await whole_log(registry) == []


async def test_a_tree_of_links_that_multiply_is_refused(settings: Settings, tree: Path) -> None:
    for level in range(30):
        (tree / f"{level}").mkdir()
        for name in "ab":
            (tree / f"{level}" / name).symlink_to(f"../{level + 1}")
    (tree / "30").mkdir()
    async with open_registry(replace(settings, package_files_max=100)) as registry:
        with pytest.raises(TreeTooLarge, match="or raise ARTIFACTSTORE_PACKAGE_FILES_MAX"):
            await registry.ingest_tree(tree, links=LinkPolicy.FOLLOW)
        assert await whole_log(registry) == []


async def test_a_tree_of_too_many_files_is_refused(settings: Settings, tree: Path) -> None:
    plant(tree, {"1": b"", "2": b"", "3": b""})
    async with open_registry(replace(settings, package_files_max=2)) as registry:
        with pytest.raises(TreeTooLarge):
            await registry.ingest_tree(tree)
        assert await whole_log(registry) == []


async def test_a_package_that_cannot_be_made_is_refused(registry: Registry, tree: Path) -> None:
    with pytest.raises(UnknownRetentionClass):
        await registry.ingest_tree(tree, retention="forever")
    with pytest.raises(UnknownRetentionClass):
        await registry.create_package("p", retention="forever")
    with pytest.raises(PackageNotFound):
        await registry.ingest_directory("no such package", tree)
    assert await whole_log(registry) == []


async def test_a_file_that_differs_is_refused_unless_it_is_to_be_replaced(registry: Registry, tree: Path) -> None:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "a", b"first")
    plant(tree, {"a": b"second", "b": b"b"})
    with pytest.raises(PathTaken):
        await registry.ingest_directory(package, tree)
    assert await paths_in(registry, package) == ["a"], "the batch goes whole or not at all"
    result = await registry.ingest_directory(package, tree, replace=True)
    assert (result.files, result.unchanged_files) == (2, 0)
    assert await content_of(registry, package, "a") == b"second"
    await check_sound(registry)


async def test_progress_counts_every_batch(registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 3)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    monkeypatch.setattr("artifactstore.ingest.steps._BATCH_BYTES", 10)
    plant(tree, {"a": b"1", "b": b"2", "c": b"3", "d": b"4", "e": b"5" * 10, "f": b"6"})
    progress: list[IngestProgress] = []
    await registry.ingest_tree(tree, progress=progress.append)
    assert [(counts.files, counts.files_total, counts.bytes, counts.bytes_total) for counts in progress] == [
        (0, 6, 0, 15),
        (3, 6, 3, 15),
        (4, 6, 4, 15),
        (5, 6, 14, 15),
        (6, 6, 15, 15),
    ]


async def test_batches_that_are_stored_together_are_committed_by_one_transaction(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 2)
    commit, stored = SqlEventStore.commit, SmallBackend.put_many
    commands: list[int] = []
    objects: list[int] = []

    async def counted(store: SqlEventStore, requests: Sequence[CommandRequest], **named: Any) -> Any:  # noqa: ANN401
        commands.append(len(requests))
        return await commit(store, requests, **named)

    def put_many(backend: SmallBackend, puts: Iterable[tuple[str, bytes]]) -> Any:  # noqa: ANN401
        answers = stored(backend, puts)
        objects.append(len(answers))
        return answers

    monkeypatch.setattr(SqlEventStore, "commit", counted)
    monkeypatch.setattr(SmallBackend, "put_many", put_many)
    plant(tree, {f"{number:02}": f"content {number}".encode() for number in range(10)})
    summary = await registry.ingest_tree(tree)
    assert summary.files == 10
    assert commands == [1, BATCHES_TOGETHER, 1, 1], "create the package, two runs, and finalize it"
    assert sorted(objects) == [2, 2 * BATCHES_TOGETHER]
    await check_sound(registry)


@pytest.mark.slow
async def test_progress_counts_what_a_scan_has_found(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.ingest.scan._TELL_EVERY", 2)
    plant(tree, dict.fromkeys("abcde", b"xyz"))
    progress: list[IngestProgress] = []
    await registry.ingest_tree(tree, progress=progress.append)
    assert [(counts.files, counts.files_total, counts.bytes_total) for counts in progress if counts.scanning] == [
        (0, 2, 6),
        (0, 4, 12),
    ]
    assert [counts.files for counts in progress if not counts.scanning] == [0, 5]


async def test_what_progress_raises_interrupts_the_ingest_and_is_raised(
    registry: Registry, settings: Settings, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 1)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    plant(tree, {name: name.encode() for name in "abcdef"})
    package = (await registry.create_package("p")).package_id
    failure = ValueError("enough")
    told: list[int] = []

    def stop(counts: IngestProgress) -> None:
        told.append(counts.files)
        if counts.files == 2:
            raise failure

    with pytest.raises(ValueError, match="enough") as raised:
        await registry.ingest_directory(package, tree, progress=stop)
    assert raised.value is failure
    assert told == [0, 1, 2]
    await quiet(registry)
    committed = await paths_in(registry, package)
    assert committed in (["a", "b"], ["a", "b", "c"]), "the next batch may have been under way"
    assert all(actor.starts == 1 for actor in actors(registry)), "an actor crashed"
    assert temp_files(settings) == []


async def test_a_file_that_changes_after_the_scan_is_refused(
    registry: Registry, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 1)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    plant(tree, {"a": b"a", "b": b"b"})
    package = (await registry.create_package("p")).package_id

    def swap(counts: IngestProgress) -> None:
        if counts.files == 0:
            (tree / "b").unlink()
            (tree / "b").symlink_to("/etc/hostname")

    with pytest.raises(SourceRefused):
        await registry.ingest_directory(package, tree, progress=swap)
    assert await paths_in(registry, package) == ["a"]


async def test_a_file_that_grows_while_it_is_read_is_refused(
    registry: Registry, settings: Settings, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, {"a": b"a"})
    read = os.read

    def read_and_grow(fd: int, count: int) -> bytes:
        with (tree / "a").open("ab") as file:
            file.write(b"more")
        return read(fd, count)

    monkeypatch.setattr("artifactstore.dataplane.source.os.read", read_and_grow)
    with pytest.raises(SourceChanged):
        await registry.ingest_tree(tree, name="t")
    await quiet(registry)
    assert await whole_log(registry) == [], "not even a package is left behind"
    assert objects(settings) == {}


async def test_a_tree_that_another_process_finalizes_meanwhile_is_refused(
    registry: Registry, settings: Settings, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artifactstore.ingest.steps.ENTRIES_MAX", 1)
    monkeypatch.setattr("artifactstore.ingest.steps.BATCHES_TOGETHER", 1)
    plant(tree, {"a": b"a", "b": b"b", "c": b"c"})
    finalized = trio.Event()
    store_files = StorageActor.store_files

    async def store_the_last_one_late(
        actor: StorageActor, message: StoreFiles
    ) -> tuple[IngestResult | ArtifactStoreError, ...]:
        if message.batch[0].path == "c":
            await finalized.wait()
        return await store_files(actor, message)

    monkeypatch.setattr(StorageActor, "store_files", store_the_last_one_late)
    async with open_registry(settings) as other, trio.open_nursery() as nursery:

        async def finalize() -> None:
            package = await other.get_package("t")
            assert (await other.finalize_package(package.package_id)).files == 2
            finalized.set()

        def after_a_batch(counts: IngestProgress) -> None:
            if counts.files == 2:
                nursery.start_soon(finalize)

        with pytest.raises(PackageFinalizedAlready):
            await registry.ingest_tree(tree, name="t", progress=after_a_batch)
    await check_sound(registry)


async def test_a_name_means_the_newest_finalized_package(registry: Registry, tree: Path) -> None:
    first = await registry.ingest_tree(tree, name="t")
    assert (await registry.get_package("t")).package_id == first.package_id
    second = await registry.ingest_tree(tree, name="t")
    third = await registry.create_package("t")
    assert (await registry.get_package("t")).package_id == second.package_id
    assert (await registry.get_package("t@{1}")).package_id == first.package_id
    assert (await registry.get_package(first.package_id[-12:])).package_id == first.package_id
    (tree / "f").write_bytes(b"for the open one")
    assert (await registry.ingest_file("t", "f", tree / "f")).package_id == third.package_id
    assert (await registry.ingest_directory("t", tree, replace=True)).package_id == third.package_id
    assert (await registry.finalize_package("t")).package_id == third.package_id
    assert (await registry.finalize_package("t")).package_id == third.package_id
    assert (await registry.get_package("t")).package_id == third.package_id
    with pytest.raises(PackageNotFound):
        await registry.get_package("nobody")
