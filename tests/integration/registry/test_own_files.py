"""A store never ingests its own files, by whatever path they are reached, and says what it left out."""

import os
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.errors import SourceInsideStore
from artifactstore.ingest import mounts
from artifactstore_protocols.links import LinkPolicy
from integration.registry.samples import add, paths_in, plant, settings_in

STORE = ["artifactstore.db", "artifactstore.db-shm", "artifactstore.db-wal", "artifactstore.db.lock", "objects"]


@pytest.fixture
def settings(tree: Path) -> Settings:
    """A store inside of the directory that is ingested."""
    return replace(settings_in(tree / "var"), storage_small_max=0)


async def test_an_ingest_of_what_the_store_is_in_takes_in_the_rest(registry: Registry, tree: Path) -> None:
    plant(tree, {"a": b"a", "var/of the user": b"b", "sub/artifactstore.db": b"another directory's"})
    for _run in range(2):
        summary = await registry.ingest_tree(tree)
        assert await paths_in(registry, summary.package_id) == ["a", "sub/artifactstore.db", "var/of the user"]
        assert summary.excluded == tuple(f"var/{name}" for name in STORE)
    package = (await registry.create_package("p")).package_id
    added = await registry.ingest_directory(package, tree / "var")
    assert (added.files, added.excluded) == (1, tuple(STORE))


async def test_what_leads_into_the_store_is_left_out(registry: Registry, settings: Settings, tree: Path) -> None:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "x", b"content")
    (object_,) = [path for path in (settings.storage_local_root / "blake3").rglob("*") if path.is_file()]
    links = plant(tree / "links", {"a": b"a"})
    for name, target in {
        "root": settings.storage_local_root,
        "below": settings.storage_local_root / "blake3",
        "object": object_,
        "database": tree / "var" / "artifactstore.db",
        "log": tree / "var" / "artifactstore.db-wal",
    }.items():
        (links / name).symlink_to(target)
    (links / "second name").hardlink_to(tree / "var" / "artifactstore.db")
    summary = await registry.ingest_tree(links, links=LinkPolicy.FOLLOW)
    assert summary.excluded == ("below", "database", "log", "object", "root", "second name")
    assert await paths_in(registry, summary.package_id) == ["a"]


SOURCES: dict[str, Callable[[Settings, Path], Path]] = {
    "the objects": lambda settings, _tree: settings.storage_local_root,
    "below them": lambda settings, _tree: settings.storage_local_root / "blake3",
    "by a link": lambda settings, tree: _link(tree / "link", settings.storage_local_root / "blake3"),
}


def _link(link: Path, target: Path) -> Path:
    link.symlink_to(target)
    return link


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
async def test_a_source_inside_the_store_is_refused(
    registry: Registry, settings: Settings, tree: Path, source: str
) -> None:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "x", b"content")
    directory = SOURCES[source](settings, tree)
    with pytest.raises(SourceInsideStore, match="belongs to this store itself; name a directory or a file outside"):
        await registry.ingest_tree(directory)
    with pytest.raises(SourceInsideStore):
        await registry.ingest_directory(package, directory)


async def test_a_file_of_the_store_is_refused(registry: Registry, settings: Settings, tree: Path) -> None:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "x", b"content")
    (object_,) = [path for path in (settings.storage_local_root / "blake3").rglob("*") if path.is_file()]
    (tree / "second name").hardlink_to(tree / "var" / "artifactstore.db")
    for file in (object_, *(tree / "var" / name for name in STORE[:-1]), tree / "second name"):
        with pytest.raises(SourceInsideStore):
            await registry.ingest_file(package, "file", file)
    assert await paths_in(registry, package) == ["x"]


async def test_a_database_behind_a_link_is_known_with_what_is_beside_it(tree: Path, tmp_path: Path) -> None:
    (tree / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tree / "real" / "log.db")
    settings = Settings(f"sqlite:///{tmp_path / 'link.db'}", tmp_path / "objects")
    async with open_registry(settings) as registry:
        summary = await registry.ingest_tree(plant(tree, {"a": b"a"}))
        assert await paths_in(registry, summary.package_id) == ["a"]
        assert "real/log.db" in summary.excluded


@pytest.fixture
def mounted() -> Generator[Callable[..., None]]:
    """Mounts as the command does with these arguments."""
    places: list[Path] = []

    def mount(*command: str | Path) -> None:
        done = subprocess.run(["mount", *command], check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
        places.append(Path(command[-1]))

    yield mount
    for place in reversed(places):
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
async def test_a_store_that_is_mounted_a_second_time_is_known(
    registry: Registry, settings: Settings, tree: Path, mounted: Callable[..., None]
) -> None:
    package = (await registry.create_package("p")).package_id
    await add(registry, package, "x", b"content")
    second = plant(tree / "second", {"a": b"a", "database": b""})
    for name in ("objects", "below", "var"):
        (second / name).mkdir()
    mounted("--bind", settings.storage_local_root, second / "objects")
    mounted("--bind", settings.storage_local_root / "blake3", second / "below")
    mounted("--bind", tree / "var", second / "var")
    mounted("--bind", tree / "var" / "artifactstore.db", second / "database")
    summary = await registry.ingest_tree(second)
    assert await paths_in(registry, summary.package_id) == ["a"]
    assert set(summary.excluded) == {"below", "database", "objects", *(f"var/{name}" for name in STORE)}
    with pytest.raises(SourceInsideStore):
        await registry.ingest_tree(second / "objects")
    with pytest.raises(SourceInsideStore):
        await registry.ingest_tree(second / "below")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("layer", ["above the store", "of the store", "below the store", "with the store on it"])
async def test_a_store_in_an_overlay_is_known(
    tree: Path, tmp_path: Path, mounted: Callable[..., None], layer: str
) -> None:
    upper, work, merged = tmp_path / "upper", tmp_path / "work", tmp_path / "merged"
    for directory in (upper, work, merged):
        directory.mkdir()
    plant(tree, {"a": b"a"})

    def overlay(lower: Path) -> None:
        mounted("-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", merged)

    if layer == "with the store on it":
        overlay(tree)
    where = (merged if layer == "with the store on it" else tree) / "var"
    settings = replace(settings_in(where), storage_small_max=0)
    async with open_registry(settings) as registry:
        package = (await registry.create_package("p")).package_id
        await add(registry, package, "x", b"content")
        match layer:
            case "above the store":
                overlay(tree)
                summary = await registry.ingest_tree(merged)
                assert summary.excluded == tuple(f"var/{name}" for name in STORE)
                assert await paths_in(registry, summary.package_id) == ["a"]
                with pytest.raises(SourceInsideStore):
                    await registry.ingest_tree(merged / "var" / "objects" / "blake3")
            case "of the store":
                overlay(tree / "var")
                assert (await registry.ingest_tree(merged)).excluded == tuple(STORE)
            case "below the store":
                overlay(tree / "var" / "objects" / "blake3")
                with pytest.raises(SourceInsideStore):
                    await registry.ingest_tree(merged)
            case _:
                summary = await registry.ingest_tree(upper)
                assert await paths_in(registry, summary.package_id) == []
                assert summary.excluded == tuple(f"var/{name}" for name in STORE)


def test_a_layer_is_known_by_an_odd_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = os.fsencode(tmp_path) + b"/a:b, c"
    named = layer.replace(b":", rb"\134:").replace(b",", rb"\054").replace(b" ", rb"\040")
    table = tmp_path / "mountinfo"
    lines = [
        b"1 0 8:1 / / rw - ext4 /dev/sda rw",
        b"2 1 0:9 / /merged rw - overlay none rw,lowerdir=relative:/x:" + named + b",upperdir=/u,xino=off",
    ]
    table.write_bytes(b"\n".join(lines))
    monkeypatch.setattr(mounts, "_TABLE", table)
    assert mounts.overlaid_places(layer + b"/d/e") == [b"/merged/d/e"]
    assert mounts.overlaid_places(b"/merged/d") == [b"/x/d", layer + b"/d", b"/u/d"]
    assert mounts.mounted_again([os.fsencode(tmp_path)]) == [b"/merged"]
