"""A repair stores again what is lost or damaged, from any source; it trusts none, and says what it still needs."""

import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry
from artifactstore.errors import BackupRefused, RepairSourceRefused, SameStore, StoreNotFound, WrongStorageRoot
from artifactstore.testing.backend_conformance import key_of
from artifactstore_protocols.records import VerifyProgress
from integration.registry.samples import (
    CHUNK,
    add,
    check_sound,
    content_of,
    object_file,
    objects,
    plant,
    settings_in,
    whole_log,
)
from stored_objects import overwrite

pytestmark = pytest.mark.slow

LARGE = bytes(range(256)) * (CHUNK // 256) + b"large"
FILES = {"a": b"content of a", "b": b"content of b", "c": b"content of c", "large": LARGE, "empty": b""}


@pytest.fixture(params=[65536, 0], ids=["rows", "files"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return replace(settings_in(tmp_path / "store"), storage_small_max=request.param)


@pytest.fixture
async def registry(settings: Settings, tree: Path) -> AsyncGenerator[Registry]:
    """A store with one package."""
    async with open_registry(settings) as registry:
        await registry.ingest_tree(plant(tree, FILES), name="p")
        yield registry


async def _addresses(registry: Registry) -> dict[str, str]:
    return {file.path: file.content_address for file in await registry.list_files("p")}


async def _harm(registry: Registry, settings: Settings) -> None:
    """Damage `a` and the large file, and lose `b`; a verification finds the first two."""
    addresses = await _addresses(registry)
    overwrite(object_file(settings, addresses["a"]), b"content of ?")
    overwrite(object_file(settings, addresses["large"]), LARGE[:-1] + b"?")
    await registry.verify()
    object_file(settings, addresses["b"]).unlink()


async def _directory(registry: Registry, tmp_path: Path) -> Path:
    directory = tmp_path / "anything"
    others = {"other": b"content of x", "deep/twin": FILES["a"], "deep/one": FILES["b"]}
    plant(directory, {**others, "deep/er/LARGE": LARGE, "same size": LARGE[:-1] + b"!"})
    (directory / "link").symlink_to(directory)
    return directory


async def _backup(registry: Registry, tmp_path: Path) -> Path:
    await registry.backup(tmp_path / "kept")
    return tmp_path / "kept"


async def _store(registry: Registry, tmp_path: Path) -> Path:
    await registry.copy_package("p", settings_in(tmp_path / "other"))
    return tmp_path / "other"


async def _settings(registry: Registry, tmp_path: Path) -> Settings:
    await registry.copy_package("p", settings_in(tmp_path / "other"))
    return settings_in(tmp_path / "other")


async def _root(registry: Registry, tmp_path: Path) -> Path:
    """An object root whose database is lost."""
    await _store(registry, tmp_path)
    return tmp_path / "other" / "objects"


type Making = Callable[[Registry, Path], Awaitable[Path | Settings]]


@pytest.mark.parametrize(
    "make",
    [
        _directory,
        _backup,
        _store,
        pytest.param(_settings, marks=pytest.mark.slow),
        pytest.param(_root, marks=pytest.mark.slow),
    ],
)
async def test_what_a_source_has_is_repaired_and_recorded(
    registry: Registry, settings: Settings, tmp_path: Path, make: Making
) -> None:
    source = await make(registry, tmp_path)
    await _harm(registry, settings)
    before = await whole_log(registry)

    preview = await registry.repair(source, dry_run=True)
    assert (preview.objects, preview.repaired, preview.remaining, preview.dry_run) == (3, 3, 0, True)
    assert len(await whole_log(registry)) == len(before), "a dry run changes nothing"
    with pytest.raises(Exception, match=r"damaged|missing|not there|no object"):
        await content_of(registry, "p", "b")

    told: list[VerifyProgress] = []
    report = await registry.repair(source, principal="medic", progress=told.append)
    assert (report.objects, report.repaired, report.remaining, report.needed) == (3, 3, 0, ())
    assert report.repaired_bytes == len(FILES["a"]) + len(FILES["b"]) + len(LARGE)
    assert (told[0].objects, told[-1].objects, told[-1].objects_total) == (0, 5, 5)
    new = (await whole_log(registry))[len(before) :]
    assert [stored.event.type for stored in new] == ["v1.objects.flagged", *["v1.objects.stored", "v1.objects.retired"]]
    assert {stored.event.principal for stored in new} == {"medic"}
    for path, content in FILES.items():
        assert await content_of(registry, "p", path) == content
    assert (await registry.verify()).sound

    again = await registry.repair(source)
    assert (again.objects, again.repaired, again.remaining) == (0, 0, 0)
    await check_sound(registry)


async def test_without_a_source_it_says_what_is_needed_and_changes_nothing(
    registry: Registry, settings: Settings
) -> None:
    assert (await registry.repair()).remaining == 0
    await _harm(registry, settings)
    before = len(await whole_log(registry))
    report = await registry.repair()
    addresses = await _addresses(registry)
    assert {flaw.content_address for flaw in report.needed} == {addresses[path] for path in ("a", "b", "large")}
    assert all(flaw.file_count == 1 and flaw.files for flaw in report.needed)
    assert (report.source, report.remaining, report.repaired) == (None, 3, 0)
    assert len(await whole_log(registry)) == before


async def test_part_is_repaired_and_the_rest_is_needed(registry: Registry, settings: Settings, tmp_path: Path) -> None:
    await _harm(registry, settings)
    report = await registry.repair(plant(tmp_path / "some", {"x": FILES["b"]}))
    assert (report.objects, report.repaired, report.remaining, len(report.needed)) == (3, 1, 2, 2)
    assert await content_of(registry, "p", "b") == FILES["b"]
    assert (await registry.repair(plant(tmp_path / "rest", {"y": FILES["a"], "z": LARGE}))).remaining == 0
    await check_sound(registry)


@pytest.mark.parametrize("make", [_backup, _store])
async def test_a_source_that_lies_repairs_nothing(
    registry: Registry, settings: Settings, tmp_path: Path, make: Making
) -> None:
    source = await make(registry, tmp_path)
    assert isinstance(source, Path)
    addresses = await _addresses(registry)
    kept = replace(settings, storage_local_root=source / "objects")
    overwrite(object_file(kept, addresses["a"]), b"content of !")
    overwrite(object_file(kept, addresses["large"]), b"!" + LARGE[1:])
    object_file(kept, addresses["b"]).unlink()
    await _harm(registry, settings)
    there = objects(settings)
    preview = await registry.repair(source, dry_run=True)
    report = await registry.repair(source)
    for each in (preview, report):
        assert (each.repaired, each.refused, each.remaining) == (0, 2, 3)
    assert objects(settings) == there, "nothing of it was stored"
    await check_sound(registry)


async def test_a_file_that_changes_after_it_was_found_repairs_nothing(
    registry: Registry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from artifactstore.repair.directory import DirectorySource  # noqa: PLC0415

    await _harm(registry, settings)
    directory = plant(tmp_path / "changing", {"x": FILES["a"]})
    prepare = DirectorySource.prepare

    async def changed(source: DirectorySource, wanted: object) -> None:
        await prepare(source, wanted)  # type: ignore[arg-type]
        plant(directory, {"x": b"content of !"})

    monkeypatch.setattr(DirectorySource, "prepare", changed)
    report = await registry.repair(directory)
    assert (report.repaired, report.refused, report.remaining) == (0, 1, 3)


async def test_a_flagged_object_that_is_intact_again_loses_its_flag(registry: Registry, settings: Settings) -> None:
    file = object_file(settings, (await _addresses(registry))["a"])
    content = file.read_bytes()
    overwrite(file, b"content of ?")
    await registry.verify()
    overwrite(file, content)
    report = await registry.repair(settings.storage_local_root.parent.parent / "tree")
    assert (report.objects, report.intact, report.repaired, report.remaining) == (1, 1, 0, 0)
    assert (await whole_log(registry))[-1].event.type == "v1.objects.restored"


async def test_only_files_of_a_wanted_size_are_read(
    registry: Registry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from artifactstore.repair import directory  # noqa: PLC0415

    await _harm(registry, settings)
    read: list[str] = []
    digests_of = directory._digests_of  # pyright: ignore[reportPrivateUsage]

    def noted(path: str, size_bytes: int) -> object:
        read.append(Path(path).name)
        return digests_of(path, size_bytes)

    monkeypatch.setattr(directory, "_digests_of", noted)
    source = plant(tmp_path / "any", {"of a size": b"content of x", "longer": b"content of xy", "right": FILES["b"]})
    assert (await registry.repair(source)).repaired == 1
    assert sorted(read) == ["of a size", "right"]


async def test_sources_that_cannot_be_used_are_refused(registry: Registry, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(RepairSourceRefused, match="it is no directory"):
        await registry.repair(tmp_path / "nowhere")
    with pytest.raises(SameStore):
        await registry.repair(settings)
    with pytest.raises(SameStore):
        await registry.repair(tmp_path / "store")
    with pytest.raises(StoreNotFound):
        await registry.repair(settings_in(tmp_path / "none"))
    with pytest.raises(BackupRefused):
        await registry.repair(plant(tmp_path / "odd", {"artifactstore-backup": b"another format\n"}))


async def test_a_store_without_its_objects_is_not_repaired(registry: Registry, settings: Settings, tree: Path) -> None:
    for address in (await _addresses(registry)).values():
        object_file(settings, address).unlink(missing_ok=True)
    shutil.rmtree(settings.storage_local_root / "blake3", ignore_errors=True)
    with pytest.raises(WrongStorageRoot):
        await registry.repair(tree)


async def test_flaws_name_and_count_only_files_of_packages_that_are_not_gone(
    registry: Registry, settings: Settings, tree: Path
) -> None:
    again = (await registry.ingest_tree(tree, name="again")).package_id
    kept = await registry.get_package("p")
    object_file(settings, (await _addresses(registry))["a"]).unlink()
    await registry.delete_package(again, reason="twice", before_expiry=True)
    [needed] = (await registry.repair()).needed
    [missing] = (await registry.verify()).missing
    assert needed == missing
    assert (needed.files, needed.file_count) == ((f"{kept.package_id}/a",), 1)
    await registry.delete_package(kept.package_id, reason="all", before_expiry=True)
    [needed] = (await registry.repair()).needed
    [missing] = (await registry.verify()).missing
    assert needed == missing
    assert (needed.files, needed.file_count) == ((), 0)


async def test_an_object_that_no_package_needs_is_not_counted_as_repaired(
    registry: Registry, settings: Settings, tree: Path, tmp_path: Path
) -> None:
    content = b"needed no more" * 10_000
    plant(tree, {"a": content})
    source = plant(tmp_path / "source", {"a": content})
    gone = (await registry.ingest_tree(tree)).package_id
    await add(registry, (await registry.create_package("other")).package_id, "x", b"other")
    await registry.delete_package(gone, reason="a test", before_expiry=True)
    await registry.collect_garbage(grace_s=3600)
    (settings.storage_local_root / key_of(content)).unlink()
    report = await registry.repair(source)
    assert (report.repaired, report.remaining) == (0, 1)
    assert (await registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0)).failures == ()
    assert (await registry.repair(source)).objects == 0
