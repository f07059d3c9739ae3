"""Exports as reflinks: on a file system that has them if this machine can mount one, else with one that is pretended.

Whatever the file system does, a file has the right bytes and permissions, or none at all.
"""

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifactstore import Registry, Settings, open_registry
from artifactstore.errors import ObjectDamaged, ObjectMissing
from artifactstore.package_export import cloning, writing
from integration.registry.samples import object_file, plant, settings_in
from stored_objects import overwrite

LARGE = bytes(range(251)) * ((writing._SMALL_BYTES // 251) * 4)  # pyright: ignore[reportPrivateUsage] # not in a batch
MODES = {"large": 0o644, "bin/run": 0o755, "small": 0o644}
FILES = {"large": LARGE, "bin/run": LARGE[:-1], "small": b"s"}
_IMAGE_BYTES = 320 << 20  # the least that mkfs.xfs makes is 300 MiB

type Reflink = Callable[[int, int], None]


@pytest.fixture(scope="module")
def with_reflinks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory on XFS. Its image is sparse, so that it takes little space."""
    mkfs = shutil.which("mkfs.xfs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if mkfs is None or os.geteuid() != 0:
        pytest.skip("mounting a file system with reflinks takes root and mkfs.xfs")
    above = tmp_path_factory.mktemp("reflinks")
    image, mount = above / "image", above / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    subprocess.run([mkfs, "-q", "-m", "reflink=1", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, mount], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine mounts no images: {mounted.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", mount], check=True)


def exact(source: int, target: int) -> None:
    """What a reflink does, seen from above."""
    os.write(target, os.pread(source, 1 << 30, 0))


def wrong(source: int, target: int) -> None:
    exact(source, target)
    os.pwrite(target, b"?", len(LARGE) // 2)


def short(source: int, target: int) -> None:
    os.write(target, os.pread(source, 1000, 0))


def failing(code: int) -> Reflink:
    def reflink(_source: int, _target: int) -> None:
        raise OSError(code, os.strerror(code))

    return reflink


@pytest.fixture
def cloned(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reflink], list[int]]:
    """Puts another reflink in place; the list has the target's size after each use that raised nothing."""

    def pretend(reflink: Reflink) -> list[int]:
        used: list[int] = []

        def noted(source: int, target: int) -> None:
            reflink(source, target)
            used.append(os.fstat(target).st_size)

        monkeypatch.setattr(cloning, "reflink", noted)
        return used

    return pretend


async def package_of(registry: Registry, tree: Path) -> str:
    plant(tree, FILES)
    (tree / "bin" / "run").chmod(0o755)
    return (await registry.ingest_tree(tree, name="p")).package_id


def check(out: Path) -> None:
    found = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
    assert {path: file.read_bytes() for path, file in found.items()} == FILES
    assert {path: stat.S_IMODE(file.stat().st_mode) for path, file in found.items()} == MODES


def free_bytes(mount: Path) -> int:
    os.sync()
    found = os.statvfs(mount)
    return found.f_bfree * found.f_frsize


@pytest.mark.slow
async def test_a_reflink_takes_no_space_and_changes_apart_from_its_object(with_reflinks: Path) -> None:
    settings, out = settings_in(with_reflinks), with_reflinks / "out"
    async with open_registry(settings) as registry:
        package = await package_of(registry, with_reflinks / "tree")
        before = free_bytes(with_reflinks)
        await registry.export_package(package, out)
        assert before - free_bytes(with_reflinks) < len(LARGE)  # of more than twice as much
        check(out)
        content = (await registry.get_file_record(package, "large")).content_address
        stored = object_file(settings, content)
        assert isinstance(stored, Path)
        assert (out / "large").stat().st_ino != stored.stat().st_ino
        overwrite(out / "large", b"changed by its owner")
        assert (await registry.verify()).sound
        assert (await registry.export_package(package, out, update=True)).replaced == 1
        check(out)


@pytest.mark.parametrize("code", ["EOPNOTSUPP", "EXDEV", "EINVAL", "ENOTTY", "EPERM", "EIO", "ENOSPC"])
async def test_where_there_are_no_reflinks_the_bytes_are_copied(
    registry: Registry, tree: Path, tmp_path: Path, cloned: Callable[[Reflink], list[int]], code: str
) -> None:
    used = cloned(failing(getattr(errno, code)))
    await registry.export_package(await package_of(registry, tree), tmp_path / "out")
    assert used == []
    check(tmp_path / "out")


async def test_large_objects_alone_become_reflinks(
    registry: Registry, tree: Path, tmp_path: Path, cloned: Callable[[Reflink], list[int]]
) -> None:
    used = cloned(exact)
    await registry.export_package(await package_of(registry, tree), tmp_path / "out")
    assert sorted(used) == [len(LARGE) - 1, len(LARGE)]
    check(tmp_path / "out")


@pytest.mark.parametrize("reflink", [wrong, short])
async def test_a_reflink_with_wrong_bytes_is_not_kept(
    registry: Registry, tree: Path, tmp_path: Path, cloned: Callable[[Reflink], list[int]], reflink: Reflink
) -> None:
    used = cloned(reflink)
    await registry.export_package(await package_of(registry, tree), tmp_path / "out")
    assert len(used) == 2
    check(tmp_path / "out")


async def test_a_reflink_of_a_damaged_or_missing_object_is_an_error_as_always(
    registry: Registry, settings: Settings, tree: Path, tmp_path: Path, cloned: Callable[[Reflink], list[int]]
) -> None:
    cloned(exact)
    package, out = await package_of(registry, tree), tmp_path / "out"
    stored = object_file(settings, (await registry.get_file_record(package, "large")).content_address)
    overwrite(stored, LARGE[:-1] + b"?")
    with pytest.raises(ObjectDamaged):
        await registry.export_package(package, out)
    stored.unlink()
    with pytest.raises(ObjectMissing):
        await registry.export_package(package, out)
    assert not (out / "large").exists()
    await registry.verify()
    await registry.ingest_tree(tree, name="again", files_cache=False)
    await registry.export_package(package, out)
    check(out)
