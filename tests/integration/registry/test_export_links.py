"""Exports of symbolic links and empty directories: made last, never written through, and checked when continued."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from artifactstore import Registry
from artifactstore.errors import ExportIncomplete, TargetRefused
from artifactstore.package_export import write_package, writing
from artifactstore_protocols.export_choice import ChosenEntries
from artifactstore_protocols.paths import PathRefused
from artifactstore_protocols.records import ExportReport, FileRecord, IngestProgress
from artifactstore_protocols.storage import StorageError
from integration.registry.samples import plant


def link(path: str, target: str) -> FileRecord:
    """A symbolic link of the package."""
    return FileRecord("", path, "link", 0, False, "", "", "", target, 1)


def directory(path: str) -> FileRecord:
    """An empty directory of the package."""
    return FileRecord("", path, "directory", 0, False, "", "", "", "", 1)


ENTRIES = (
    link("a/up", "../empty"),
    directory("empty"),
    link("gone", "missing"),
    link("latest", "a"),
    directory("logs/today"),
)


class Interrupt(Exception):
    """What ends an export here."""


class Exporting:
    """A package of two files, exported with the entries that a test gives it."""

    def __init__(self, registry: Registry, package_id: str, out: Path) -> None:
        self._registry = registry
        self._package_id = package_id
        self._out = out

    async def export(self, entries: Sequence[FileRecord] = ENTRIES, *, interrupted: bool = False) -> ExportReport:
        def stop(done: IngestProgress) -> None:
            if interrupted and done.files:
                raise Interrupt

        registry, package = self._registry, self._package_id
        files = [await registry.get_file_record(package, path) for path in ("a/f", "b")]
        paths = {file.content_address: file.path for file in files}

        def read(address: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
            return registry.get_file(package, paths[address])

        async def read_many(addresses: Sequence[str]) -> list[bytes | StorageError]:
            contents: list[bytes | StorageError] = []
            for address in addresses:
                async with read(address) as chunks:
                    contents.append(b"".join([chunk async for chunk in chunks]))
            return contents

        async def no_file(_address: str) -> None:
            return None

        return await write_package(
            package, ChosenEntries([*files, *entries]), self._out, read, read_many, no_file, stop
        )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The target."""
    return tmp_path / "out"


@pytest.fixture
async def exporting(registry: Registry, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Exporting:
    """An export that can be interrupted after its first file."""
    monkeypatch.setattr(writing, "_BATCH_FILES", 1)
    tree = plant(tmp_path / "tree", {"a/f": b"f", "b": b"b"})
    return Exporting(registry, (await registry.ingest_tree(tree)).package_id, out)


def listed(out: Path) -> dict[str, str]:
    """Everything in the target: what a link says, or what else a name is."""
    found: dict[str, str] = {}
    for above, directories, files in out.walk():
        for path in (above / name for name in (*directories, *files)):
            what = os.readlink(path) if path.is_symlink() else "directory" if path.is_dir() else path.read_text()  # noqa: PTH115
            found[path.relative_to(out).as_posix()] = what
    return found


WHOLE = {
    "a": "directory",
    "a/f": "f",
    "a/up": "../empty",
    "b": "b",
    "empty": "directory",
    "gone": "missing",
    "latest": "a",
    "logs": "directory",
    "logs/today": "directory",
}


async def test_links_and_empty_directories_are_restored(exporting: Exporting, out: Path) -> None:
    report = await exporting.export()
    assert (report.files, report.links, report.directories, report.refused) == (2, 3, 2, ())
    assert listed(out) == WHOLE


async def test_an_interrupted_export_continues_to_the_same_tree(exporting: Exporting, out: Path) -> None:
    with pytest.raises(Interrupt):
        await exporting.export(interrupted=True)
    (out / "latest").symlink_to("a")
    (out / "empty").mkdir()
    assert (await exporting.export()).unchanged == 2
    assert listed(out) == WHOLE


@pytest.mark.slow
async def test_a_link_that_says_something_else_is_not_replaced(exporting: Exporting, out: Path) -> None:
    with pytest.raises(Interrupt):
        await exporting.export(interrupted=True)
    (out / "latest").symlink_to("b")
    with pytest.raises(TargetRefused, match="'latest' has another content than the package"):
        await exporting.export()
    assert os.readlink(out / "latest") == "b"  # noqa: PTH115


async def test_nothing_is_written_through_a_link_that_somebody_plants(
    exporting: Exporting, out: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(Interrupt):
        await exporting.export(interrupted=True)
    (out / "logs").symlink_to(outside)
    with pytest.raises(TargetRefused, match="'logs'"):
        await exporting.export()
    assert list(outside.iterdir()) == []


async def test_names_that_the_target_does_not_distinguish_are_refused(exporting: Exporting, out: Path) -> None:
    """Here a package of hand-edited tables, which holds one name twice."""
    entries = (link("b", "a"), directory("a/f"))
    with pytest.raises(ExportIncomplete) as incomplete:
        await exporting.export(entries)
    assert [each.path for each in incomplete.value.report.refused] == ["a/f", "b"]
    assert (out / "b").read_bytes() == b"b"


@pytest.mark.parametrize("target", ["../x", "/etc", "latest/../../x"])
async def test_links_that_lead_out_are_refused_before_anything_is_written(
    exporting: Exporting, out: Path, target: str
) -> None:
    with pytest.raises(PathRefused, match="path 'z' refused"):
        await exporting.export((*ENTRIES, link("z", target)))
    assert list(out.parent.glob("out")) == []
