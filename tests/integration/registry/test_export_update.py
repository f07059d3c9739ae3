"""Updates of a target: what differs is replaced, what is equal or not of the package stays, and nothing is followed."""

import os
import stat
from pathlib import Path

import pytest

from artifactstore import Registry, Settings
from artifactstore.errors import ExportIncomplete, LinksLeadOut, ObjectDamaged, ObjectMissing, TargetRefused
from artifactstore.ids import new_id
from artifactstore_protocols.records import ExportReport, IngestProgress
from integration.registry.samples import CHUNK, object_file, plant
from stored_objects import overwrite

pytestmark = pytest.mark.slow

UNFINISHED = ".artifactstore-export"


class Interrupt(Exception):
    """What ends an export here."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The target."""
    return tmp_path / "out"


async def nightly(registry: Registry, tree: Path) -> str:
    """A package: two files, an executable one, a link and an empty directory."""
    plant(tree, {"a": b"1", "dir/b": b"22", "bin/run": b"#!"})
    (tree / "bin" / "run").chmod(0o755)
    (tree / "latest").symlink_to("dir/b")
    (tree / "empty").mkdir()
    return (await registry.ingest_tree(tree, name="nightly")).package_id


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def counts(report: ExportReport) -> tuple[int, int, int]:
    return report.unchanged, report.replaced, report.new


def identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns


def same_tree(tree: Path, out: Path) -> None:
    """Kinds, contents, targets and executable bits are equal."""
    for root, other in ((tree, out), (out, tree)):
        for path in root.rglob("*"):
            twin = other / path.relative_to(root)
            assert stat.S_IFMT(path.lstat().st_mode) == stat.S_IFMT(twin.lstat().st_mode), path
            if path.is_symlink():
                assert path.readlink() == twin.readlink()
            elif path.is_file():
                assert path.read_bytes() == twin.read_bytes()
                assert os.access(path, os.X_OK) == os.access(twin, os.X_OK)


async def test_an_update_writes_only_what_differs(registry: Registry, tree: Path, out: Path) -> None:
    package = await nightly(registry, tree)
    await registry.export_package(package, out)
    before = {path: identity(out / path) for path in ("a", "dir/b", "bin/run", "latest")}
    (out / "a").write_bytes(b"2")  # the same size
    os.utime(out / "a", ns=(0, before["a"][1]))  # and the same time
    (out / "dir" / "b").unlink()
    (out / "latest").unlink()
    (out / "latest").symlink_to("a")
    report = await registry.export_package(package, out, update=True)
    assert counts(report) == (1, 2, 1)
    same_tree(tree, out)
    assert identity(out / "bin" / "run") == before["bin/run"]
    assert not (out / UNFINISHED).exists()
    again = await registry.export_package(package, out, update=True)
    assert (counts(again), again.others) == ((4, 0, 0), ())


async def test_an_update_leads_from_one_package_to_the_next(registry: Registry, tree: Path, out: Path) -> None:
    first = await nightly(registry, tree)
    await registry.export_package(first, out)
    (tree / "a").write_bytes(b"longer than before")
    (tree / "bin" / "run").chmod(0o644)
    (tree / "dir" / "new").write_bytes(b"new")
    (tree / "latest").unlink()
    (tree / "latest").write_bytes(b"a file now")
    (tree / "dir" / "b").unlink()
    (tree / "dir" / "b").symlink_to("new")
    second = (await registry.ingest_tree(tree, name="nightly")).package_id
    report = await registry.export_package(second, out, update=True)
    assert (counts(report), report.others) == ((0, 4, 1), ())
    same_tree(tree, out)
    assert (await registry.ingest_tree(out)).tree_digest == (await registry.get_package(second)).tree_digest


async def test_what_is_not_in_the_package_is_named_and_kept(registry: Registry, tree: Path, out: Path) -> None:
    package = await nightly(registry, tree)
    plant(out, {"mine": b"m", "dir/mine": b"m", "own/deep/x": b"m", "empty/x": b"m"})
    report = await registry.export_package(package, out, update=True)
    assert (counts(report), report.others) == ((0, 0, 4), ("mine", "own", "dir/mine", "empty/x"))
    assert {path.read_bytes() for path in (out / "mine", out / "dir/mine", out / "own/deep/x", out / "empty/x")} == {
        b"m"
    }


async def test_without_update_a_target_with_files_is_refused(registry: Registry, tree: Path, out: Path) -> None:
    package = await nightly(registry, tree)
    await registry.export_package(package, out)
    with pytest.raises(TargetRefused, match=r"it is not empty; .*--update"):
        await registry.export_package(package, out)


async def test_an_executable_bit_is_corrected_in_both_directions(registry: Registry, tree: Path, out: Path) -> None:
    package = await nightly(registry, tree)
    await registry.export_package(package, out)
    (out / "a").chmod(0o755)
    (out / "bin" / "run").chmod(0o644)
    report = await registry.export_package(package, out, update=True)
    assert (counts(report), report.wrong_executable_bits) == ((2, 2, 0), 0)
    same_tree(tree, out)


@pytest.mark.parametrize("planted", ["a", "latest"])
async def test_a_link_in_the_place_of_an_entry_is_replaced_and_not_followed(
    registry: Registry, tree: Path, out: Path, tmp_path: Path, planted: str
) -> None:
    package = await nightly(registry, tree)
    await registry.export_package(package, out)
    victim = tmp_path / "victim"
    victim.write_bytes(b"1")
    (out / planted).unlink()
    (out / planted).symlink_to(victim)
    assert counts(await registry.export_package(package, out, update=True)) == (3, 1, 0)
    assert victim.read_bytes() == b"1"
    same_tree(tree, out)


def plant_other_kind(planted: str, out: Path, outside: Path) -> None:
    outside.mkdir()
    out.mkdir()
    match planted:
        case "a link for a directory":
            (out / "dir").symlink_to(outside)
        case "a file for a directory":
            (out / "dir").write_bytes(b"mine")
        case "a directory for a file":
            (out / "a" / "deep").mkdir(parents=True)
        case "a directory for a link":
            (out / "latest").mkdir()
        case _:
            os.mkfifo(out / "a")


@pytest.mark.parametrize(
    ("planted", "named"),
    [
        ("a link for a directory", "'dir'"),
        ("a file for a directory", "'dir'"),
        ("a directory for a file", "'a'"),
        ("a directory for a link", "'latest'"),
        ("a FIFO for a file", "'a'"),
    ],
)
async def test_something_of_another_kind_is_named_and_nothing_is_written(
    registry: Registry, tree: Path, out: Path, tmp_path: Path, planted: str, named: str
) -> None:
    package = await nightly(registry, tree)
    plant_other_kind(planted, out, tmp_path / "outside")
    with pytest.raises(TargetRefused, match=f"{named} is of another kind in the package"):
        await registry.export_package(package, out, update=True)
    assert names_in(tmp_path / "outside") == []
    assert "bin" not in names_in(out)


async def test_an_update_takes_over_an_interrupted_export_of_another_package(
    registry: Registry, tree: Path, out: Path
) -> None:
    def stop(_done: IngestProgress) -> None:
        raise Interrupt

    first = await nightly(registry, tree)
    (tree / "a").write_bytes(b"2")
    second = (await registry.ingest_tree(tree, name="nightly")).package_id
    with pytest.raises(Interrupt):
        await registry.export_package(first, out, progress=stop)
    (out / UNFINISHED / new_id()).symlink_to("half")  # of a process that died
    with pytest.raises(TargetRefused, match="an unfinished export of package"):
        await registry.export_package(second, out)
    await registry.export_package(second, out, update=True)
    same_tree(tree, out)


async def test_an_interrupted_update_is_continued_and_is_no_export(registry: Registry, tree: Path, out: Path) -> None:
    def stop(done: IngestProgress) -> None:
        if done.files == 3:
            raise Interrupt

    package = await nightly(registry, tree)
    plant(out, {"mine": b"m", "a": b"edited"})
    with pytest.raises(Interrupt):
        await registry.export_package(package, out, update=True, progress=stop)
    with pytest.raises(TargetRefused, match="it also holds 'mine'"):
        await registry.export_package(package, out)
    assert counts(await registry.export_package(package, out, update=True)) == (3, 0, 1)
    assert (out / "mine").read_bytes() == b"m"


async def test_the_object_root_of_a_store_is_not_updated(registry: Registry, settings: Settings, tree: Path) -> None:
    package = await nightly(registry, plant(tree, {"small/objects.db": b"ruin"}))
    with pytest.raises(TargetRefused, match="the object root of a store"):
        await registry.export_package(package, settings.storage_local_root, update=True)
    assert (await registry.verify()).mismatches == ()


# Reading on past damage.


@pytest.mark.parametrize("content", [b"small", b"l" * (CHUNK + 1)], ids=["small", "large"])
@pytest.mark.parametrize("missing", [True, False])
async def test_damaged_and_missing_objects_are_listed_and_the_others_written(
    registry: Registry, settings: Settings, tree: Path, out: Path, content: bytes, missing: bool
) -> None:
    plant(tree, {"bad": content, "good": b"good", "twin/bad": content, "large": b"g" * (CHUNK + 2)})
    package = (await registry.ingest_tree(tree)).package_id
    stored = object_file(settings, (await registry.get_file_record(package, "bad")).content_address)
    if missing:
        stored.unlink()
    else:
        overwrite(stored, content[:-1] + b"!")
    with pytest.raises(ObjectMissing if missing else ObjectDamaged):
        await registry.export_package(package, out / "strict")
    with pytest.raises(ExportIncomplete, match="2 entries were not written") as incomplete:
        await registry.export_package(package, out / "kept", keep_going=True)
    report = incomplete.value.report
    assert [each.path for each in report.unreadable] == ["bad", "twin/bad"]
    assert (report.files, report.new, report.refused, report.complete) == (2, 2, (), False)
    found = {path.relative_to(out / "kept").as_posix() for path in (out / "kept").rglob("*") if path.is_file()}
    assert found == {"good", "large"}
    overwrite(stored, content)
    report = await registry.export_package(package, out / "kept", update=True)
    assert (counts(report), report.complete) == ((2, 0, 2), True)
    same_tree(tree, out / "kept")


async def test_an_update_keeps_the_old_file_of_a_damaged_object(
    registry: Registry, settings: Settings, tree: Path, out: Path
) -> None:
    package = await nightly(registry, tree)
    plant(out, {"a": b"old"})
    overwrite(object_file(settings, (await registry.get_file_record(package, "a")).content_address), b"!")
    with pytest.raises(ExportIncomplete):
        await registry.export_package(package, out, update=True, keep_going=True)
    assert (out / "a").read_bytes() == b"old"


# Parts of a package.


async def test_a_subtree_is_written_without_the_path_above_it(registry: Registry, tree: Path, out: Path) -> None:
    package = await nightly(registry, tree)
    report = await registry.export_package(package, out / "dir", subtree="dir")
    assert (report.files, report.bytes, (out / "dir" / "b").read_bytes()) == (1, 2, b"22")
    await registry.export_package(package, out / "file", subtree="bin/run")
    assert os.access(out / "file" / "run", os.X_OK)
    await registry.export_package(package, out / "empty", subtree="empty")
    assert names_in(out / "empty") == []


async def test_an_interrupted_export_of_a_subtree_is_not_continued_by_another(
    registry: Registry, tree: Path, out: Path
) -> None:
    def stop(_done: IngestProgress) -> None:
        raise Interrupt

    package = await nightly(registry, tree)
    with pytest.raises(Interrupt):
        await registry.export_package(package, out, subtree="bin", progress=stop)
    with pytest.raises(TargetRefused, match="it also holds 'run', not of this package"):
        await registry.export_package(package, out)
    assert (await registry.export_package(package, out, subtree="bin")).unchanged == 1


async def test_links_that_lead_out_of_a_subtree_are_refused_or_left_out(
    registry: Registry, tree: Path, out: Path
) -> None:
    plant(tree, {"sub/x": b"x", "y": b"y"})
    for name in ("one", "two"):
        (tree / "sub" / name).symlink_to("../y")
    package = (await registry.ingest_tree(tree)).package_id
    with pytest.raises(LinksLeadOut, match=r"sub/one -> \.\./y, sub/two"):
        await registry.export_package(package, out, subtree="sub")
    assert names_in(out.parent) == ["store", "tree"]
    with pytest.raises(ExportIncomplete, match="'sub/one': it leads out") as incomplete:
        await registry.export_package(package, out, subtree="sub", keep_going=True)
    assert incomplete.value.report.left_out == ("sub/one", "sub/two")
    assert names_in(out) == ["x"]


async def test_listed_paths_and_stripped_names_are_combined(registry: Registry, tree: Path, out: Path) -> None:
    package = await nightly(registry, tree)
    report = await registry.export_package(package, out, paths=["a", "dir", "bin/run"], strip_components=1)
    assert (names_in(out), report.vanished) == (["b", "run"], ("a",))
