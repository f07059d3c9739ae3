"""Exports: nothing outside the target, nothing overwritten, nothing lost in silence, and interrupted ones continue."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unicodedata import normalize

import pytest

from artifactstore import Registry, Settings
from artifactstore.errors import ExportIncomplete, TargetRefused
from artifactstore.ids import new_id
from artifactstore.package_export import write_package, writing
from artifactstore_protocols.export_choice import ChosenEntries
from artifactstore_protocols.paths import PathRefused
from artifactstore_protocols.records import ExportReport, IngestProgress
from artifactstore_protocols.storage import StorageError
from integration.registry.samples import by_hand, plant
from odd_mount import OddMount

pytestmark = pytest.mark.slow

UNFINISHED = ".artifactstore-export"


class Interrupt(Exception):
    """What ends an export here."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The target."""
    return tmp_path / "mount" / "out"


@pytest.fixture
def mount(out: Path, monkeypatch: pytest.MonkeyPatch) -> OddMount:
    """The file system that the target is on."""
    return OddMount(out, monkeypatch)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is told after every file."""
    monkeypatch.setattr(writing, "_BATCH_FILES", 1)


async def finalized(registry: Registry, tree: Path, files: Mapping[str, bytes]) -> str:
    return (await registry.ingest_tree(plant(tree, files), name="p")).package_id


def found(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def inodes(out: Path) -> dict[str, int]:
    return {path: (out / path).stat().st_ino for path in found(out)}


def after(files: int, act: Callable[[], object]) -> Callable[[IngestProgress], None]:
    """Progress that acts once so many files are written."""

    def told(counts: IngestProgress) -> None:
        if counts.files == files:
            act()

    return told


def stop() -> None:
    raise Interrupt


async def incomplete(registry: Registry, package_id: str, out: Path) -> ExportReport:
    with pytest.raises(ExportIncomplete) as caught:
        await registry.export_package(package_id, out)
    return caught.value.report


def refused_paths(report: ExportReport) -> list[str]:
    return [each.path for each in report.refused]


# Nothing outside the target.


@pytest.mark.parametrize("path", ["../escaped", "a/../../escaped", "/escaped-from-export", "a//b", "."])
async def test_a_path_that_leads_out_of_the_target_is_refused_whatever_the_tables_say(
    registry: Registry, settings: Settings, tree: Path, out: Path, path: str
) -> None:
    package = await finalized(registry, tree, {"a/b": b"1", "c": b"2"})
    by_hand(settings, f"UPDATE artifact_files SET path = '{path}' WHERE path_key = 'a/b'")  # noqa: S608
    with pytest.raises(PathRefused):
        await registry.export_package(package, out)
    assert found(out) == {}


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("planted", ["dir", "new", "new/deeper", "dir/second"])
async def test_a_link_that_is_planted_while_an_export_runs_is_not_followed(
    registry: Registry, tree: Path, out: Path, tmp_path: Path, planted: str
) -> None:
    files = {"dir/first": b"1", "dir/second": b"2", "new/deeper/third": b"3", "zeta": b"4"}
    package = await finalized(registry, tree, files)
    outside = tmp_path / "outside"
    (outside / "deeper").mkdir(parents=True)

    def plant_link() -> None:
        link = out / planted
        link.parent.mkdir(exist_ok=True)
        if link.exists():
            link.rename(tmp_path / "moved away")
        link.symlink_to(outside / "victim" if planted == "dir/second" else outside)

    with pytest.raises(ExportIncomplete) as caught:
        await registry.export_package(package, out, progress=after(1, plant_link))
    report = caught.value.report
    assert [path.name for path in outside.rglob("*")] == ["deeper"]
    assert refused_paths(report)
    assert report.files == len(files) - len(report.refused)
    assert (out / "zeta").read_bytes() == b"4"


# Nothing overwritten, nothing lost in silence.


@pytest.mark.usefixtures("one_by_one")
async def test_what_somebody_else_writes_into_the_target_meanwhile_is_kept(
    registry: Registry, tree: Path, out: Path
) -> None:
    package = await finalized(registry, tree, {"a": b"1", "b": b"2", "c": b"3"})
    with pytest.raises(ExportIncomplete) as caught:
        await registry.export_package(package, out, progress=after(1, lambda: (out / "b").write_bytes(b"theirs")))
    assert [(each.path, "already" in each.reason) for each in caught.value.report.refused] == [("b", True)]
    assert (out / "b").read_bytes() == b"theirs"


@pytest.mark.parametrize("lacks", [(), ("rename_new",), ("rename_new", "link")])
async def test_names_that_differ_in_case_only_are_refused_where_the_target_does_not_tell_them_apart(
    registry: Registry, tree: Path, out: Path, mount: OddMount, lacks: tuple[str, ...]
) -> None:
    files = {"README": b"upper", "readme": b"lower", "Docs/a": b"1", "docs/b": b"2", "other": b"3"}
    package = await finalized(registry, tree, files)
    mount.same = bytes.lower
    mount.failing = dict.fromkeys(lacks, errno.EPERM)
    report = await incomplete(registry, package, out)
    assert refused_paths(report) == ["docs/b", "readme"]
    assert (report.files, report.bytes) == (3, 7)
    (out / UNFINISHED / "package").unlink()
    assert found(out) == {"README": b"upper", "Docs/a": b"1", "other": b"3"}


async def test_names_that_the_target_does_not_take_are_refused_one_by_one(
    registry: Registry, tree: Path, out: Path, mount: OddMount
) -> None:
    errors = {b"a:b": errno.EINVAL, b"too long": errno.ENAMETOOLONG, b"not in its code page": errno.EILSEQ}
    files = {name.decode(): b"x" for name in errors}
    package = await finalized(registry, tree, {**files, "a:b.d/below": b"x", "fine": b"x"})
    mount.refusal = lambda name: errors.get(name.removesuffix(b".d"))
    report = await incomplete(registry, package, out)
    assert report.files == 1
    said = "the target does not take the name: "
    assert {each.path: each.reason.removeprefix(said) for each in report.refused} == {
        "a:b": os.strerror(errno.EINVAL),
        "a:b.d/below": os.strerror(errno.EINVAL),
        "not in its code page": os.strerror(errno.EILSEQ),
        "too long": os.strerror(errno.ENAMETOOLONG),
    }


async def test_a_name_that_the_target_changes_in_silence_is_not_counted_as_written(
    registry: Registry, tree: Path, out: Path, mount: OddMount
) -> None:
    """As vfat drops trailing dots."""
    package = await finalized(registry, tree, {"dots..": b"1", "dir./below": b"2", "fine": b"3"})
    mount.kept = lambda name: name.rstrip(b".") or name
    mount.same = mount.kept
    report = await incomplete(registry, package, out)
    assert refused_paths(report) == ["dir./below", "dots.."]
    assert (report.files, report.bytes) == (1, 1)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_a_target_that_keeps_another_unicode_form_is_told_of(
    registry: Registry, tree: Path, out: Path, mount: OddMount, form: str
) -> None:
    names = {"caf\u00e9/\u00e9": b"1", "cafe\u0301/other": b"2", "plain": b"3"}
    package = await finalized(registry, tree, names)
    mount.kept = mount.same = lambda name: normalize("NFC" if form == "NFC" else "NFD", name.decode()).encode()
    report = await registry.export_package(package, out)
    assert (report.files, report.refused, report.limits) == (3, (), ("names",))
    assert {normalize("NFC", path): content for path, content in found(out).items()} == {
        normalize("NFC", path): content for path, content in names.items()
    }


async def test_a_file_that_is_too_large_for_the_target_is_refused_alone(
    registry: Registry, tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vfat refuses 4 GiB."""
    large = b"l" * (writing._BATCH_BYTES + 1)  # pyright: ignore[reportPrivateUsage] # the other way through the code
    package = await finalized(registry, tree, {"large": large, "small": b"s"})
    real = os.write

    def write(fd: int, content: memoryview) -> int:
        if len(content) > 1000:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return real(fd, content)

    monkeypatch.setattr(os, "write", write)
    report = await incomplete(registry, package, out)
    assert (report.files, refused_paths(report)) == (1, ["large"])
    assert list((out / UNFINISHED).iterdir()) == [out / UNFINISHED / "package"]


@pytest.mark.usefixtures("one_by_one")
async def test_a_batch_is_read_while_the_one_before_it_is_written(registry: Registry, tree: Path, out: Path) -> None:
    files = {"a": b"1", "b": b"2", "c": b"3"}
    package = await finalized(registry, tree, files)
    records = await registry.list_files(package)
    contents = {record.content_address: files[record.path] for record in records}
    reads, when_written = 0, list[int]()

    async def read_many(addresses: Sequence[str]) -> list[bytes | StorageError]:
        nonlocal reads
        reads += 1
        return [contents[address] for address in addresses]

    read = partial(registry.get_file, package)
    chosen = ChosenEntries(records)

    async def no_file(_address: str) -> None:
        return None

    await write_package(package, chosen, out, read, read_many, no_file, lambda _counts: when_written.append(reads))
    assert when_written == [2, 3, 3]
    assert found(out) == files


# Targets that lack something.


async def test_a_target_with_neither_hard_links_nor_replacement_takes_files_by_their_one_rename(
    registry: Registry, tree: Path, out: Path, mount: OddMount
) -> None:
    files = {"a": b"1", "dir/b": b"2"}
    package = await finalized(registry, tree, files)
    mount.failing = {"link": errno.EPERM, "replace": errno.EPERM}
    assert (await registry.export_package(package, out)).files == 2
    assert found(out) == files


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
async def test_a_target_without_modes_locks_and_links_gets_the_contents_and_is_told_of(
    registry: Registry, tree: Path, out: Path, mount: OddMount, number: int
) -> None:
    plant(tree, {"run": b"#!", "dir/plain": b"1"})
    (tree / "run").chmod(0o755)
    package = await finalized(registry, tree, {})
    mount.modes = False
    mount.failing = {"fchmod": number, "flock": errno.ENOLCK, "rename_new": errno.EINVAL, "link": number}
    report = await registry.export_package(package, out)
    assert (report.files, report.limits, report.wrong_executable_bits) == (2, ("locks", "modes"), 1)
    assert found(out) == {"run": b"#!", "dir/plain": b"1"}
    assert not (out / UNFINISHED).exists()


async def test_a_target_that_forgets_modes_in_silence_is_told_of(
    registry: Registry, tree: Path, out: Path, mount: OddMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, {"run": b"#!", "plain": b"1"})
    (tree / "run").chmod(0o755)
    package = await finalized(registry, tree, {})

    def forget(fd: int, mode: int) -> None:
        pass

    mount.modes = False
    monkeypatch.setattr(os, "fchmod", forget)
    report = await registry.export_package(package, out)
    assert (report.limits, report.wrong_executable_bits) == (("modes",), 1)


async def test_a_target_that_holds_only_lost_and_found_is_empty(registry: Registry, tree: Path, out: Path) -> None:
    package = await finalized(registry, tree, {"a": b"1"})
    (out / "lost+found").mkdir(parents=True)
    (out / "lost+found").chmod(0)
    assert (await registry.export_package(package, out)).files == 1
    assert found(out) == {"a": b"1"}


# Interrupted exports.

FILES = {"a": b"1", "b/one": b"22", "b/two": b"333", "c": b"4444", "d/e/f": b"55555"}


async def interrupted(registry: Registry, tree: Path, out: Path, *, files: int = 3) -> str:
    plant(tree, FILES)
    (tree / "b" / "one").chmod(0o755)
    package = await finalized(registry, tree, {})
    with pytest.raises(Interrupt):
        await registry.export_package(package, out, progress=after(files, stop))
    assert (out / UNFINISHED).is_dir()
    return package


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("files", [1, 3, 5])
async def test_an_interrupted_export_continues_with_what_is_missing(
    registry: Registry, tree: Path, out: Path, files: int
) -> None:
    package = await interrupted(registry, tree, out, files=files)
    (out / UNFINISHED / new_id()).write_bytes(b"half")  # left by a dead process
    before = inodes(out)
    report = await registry.export_package(package, out)
    assert (report.files, report.unchanged, report.bytes) == (5, files, 15)
    assert found(out) == FILES
    assert not (out / UNFINISHED).exists()
    assert os.access(out / "b" / "one", os.X_OK)
    assert len(before) == files + 2
    assert len(before.items() & inodes(out).items()) == files
    with pytest.raises(TargetRefused, match="not empty"):
        await registry.export_package(package, out)


@pytest.mark.usefixtures("one_by_one")
async def test_an_export_continues_in_its_own_target_only(registry: Registry, tree: Path, out: Path) -> None:
    package = await interrupted(registry, tree, out)
    other = (await registry.ingest_tree(tree, name="other")).package_id
    with pytest.raises(TargetRefused, match=f"an unfinished export of package '{package}'"):
        await registry.export_package(other, out)
    (out / "b" / "mine").write_bytes(b"a note")
    with pytest.raises(TargetRefused, match="also holds 'b/mine'"):
        await registry.export_package(package, out)
    (out / UNFINISHED / "package").unlink()
    with pytest.raises(TargetRefused, match="also holds 'b/mine'"):
        await registry.export_package(other, out)
    assert not (out / "d").exists(), "nothing was written"


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("change", ["edited", "of the same size", "a link", "a directory", "unreadable kind"])
async def test_a_file_that_was_changed_since_is_not_overwritten(
    registry: Registry, tree: Path, out: Path, tmp_path: Path, change: str
) -> None:
    package = await interrupted(registry, tree, out)
    (out / "a").unlink()
    match change:
        case "edited":
            (out / "a").write_bytes(b"edited")
        case "of the same size":
            (out / "a").write_bytes(b"x")
        case "a link":
            (tmp_path / "victim").write_bytes(b"1")
            (out / "a").symlink_to(tmp_path / "victim")
        case "a directory":
            (out / "a").mkdir()
        case _:
            os.mkfifo(out / "a")
    kind = stat.S_IFMT((out / "a").lstat().st_mode)
    with pytest.raises(TargetRefused, match="'a' has another content"):
        await registry.export_package(package, out)
    assert stat.S_IFMT((out / "a").lstat().st_mode) == kind
    assert not (out / "d").exists(), "nothing was written"


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("kind", ["file", "empty file", "link"])
async def test_what_is_in_the_place_of_a_directory_is_named_and_left_alone(
    registry: Registry, tree: Path, out: Path, tmp_path: Path, kind: str
) -> None:
    package = await interrupted(registry, tree, out)
    if kind == "link":
        (tmp_path / "elsewhere" / "e").mkdir(parents=True)
        (out / "d").symlink_to(tmp_path / "elsewhere")
    else:
        (out / "d").write_bytes(b"mine" if kind == "file" else b"")
    before = inodes(out)
    with pytest.raises(TargetRefused, match="'d' has another content"):
        await registry.export_package(package, out)
    assert inodes(out) == before
    assert found(tmp_path / "elsewhere") == {}


LEFTOVER = "01a22511-edc5-7aac-b1d7-9cd987348bc4"
PLANTED = {
    "": ["FIFO", "link", "file"],
    "package": ["FIFO", "link", "hard link", "directory"],
    "notes": ["FIFO", "link", "hard link", "directory", "file"],
    LEFTOVER: ["FIFO", "directory"],
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in PLANTED.items() for kind in kinds])
async def test_what_no_export_made_is_neither_written_nor_removed(
    registry: Registry, tree: Path, out: Path, tmp_path: Path, name: str, kind: str
) -> None:
    package = await finalized(registry, tree, FILES)
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    planted = out / UNFINISHED / name
    planted.parent.mkdir(parents=True)
    match kind:
        case "FIFO":
            os.mkfifo(planted)
        case "link":
            planted.symlink_to(victim)
        case "hard link":
            planted.hardlink_to(victim)
        case "directory":
            planted.mkdir()
        case _:
            planted.write_bytes(b"mine")
    with pytest.raises(TargetRefused, match="no export made its"):
        await registry.export_package(package, out)
    assert planted.is_symlink() or planted.exists()
    assert victim.read_bytes() == b""
    assert not (out / "a").exists(), "nothing was written"


@pytest.mark.parametrize("name", [f"{UNFINISHED}/package", f"{UNFINISHED}/other", UNFINISHED])
async def test_files_that_are_named_as_the_export_names_its_own_are_refused_each_time(
    registry: Registry, tree: Path, out: Path, name: str
) -> None:
    package = await finalized(registry, tree, {"a": b"1", name: b"2"})
    for resumed in (0, 1):
        report = await incomplete(registry, package, out)
        assert refused_paths(report) == [name]
        assert (report.files, report.unchanged) == (1, resumed)


async def test_a_deep_tree_costs_a_few_calls_for_each_directory(
    registry: Registry, tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = 500
    files = {f"{'d/' * level}f": b"" for level in range(depth)}
    package = await finalized(registry, tree, files)
    opened = 0
    real = os.open

    def counted(path: str | bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        nonlocal opened
        opened += 1
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", counted)
    await registry.export_package(package, out)
    assert len(found(out)) == depth
    assert opened < 25 * depth, "from the root each time, it would be half of the depth for each"


@pytest.mark.usefixtures("one_by_one")
async def test_an_empty_file_that_a_loss_of_power_leaves_is_written_again(
    registry: Registry, tree: Path, out: Path
) -> None:
    package = await interrupted(registry, tree, out)
    os.truncate(out / "b" / "two", 0)
    assert (await registry.export_package(package, out)).unchanged == 2
    assert found(out) == FILES


async def test_an_export_that_ran_out_of_room_continues_when_there_is_some(
    registry: Registry, tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = await finalized(registry, tree, FILES)
    real, written = os.write, list[int]()

    def write(fd: int, content: memoryview) -> int:
        written.append(fd)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, content)

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        with pytest.raises(TargetRefused, match="No space left on device; export again to continue"):
            await registry.export_package(package, out)
    assert (await registry.export_package(package, out)).unchanged == 3
    assert found(out) == FILES


@pytest.mark.usefixtures("one_by_one")
async def test_two_exports_do_not_go_into_one_target_at_once(registry: Registry, tree: Path, out: Path) -> None:
    package = await interrupted(registry, tree, out)
    with locked(out / UNFINISHED / "package"), pytest.raises(TargetRefused, match="another export into it"):
        await registry.export_package(package, out)
    assert (await registry.export_package(package, out)).files == 5


@contextmanager
def locked(file: Path) -> Generator[None]:
    """As another process holds it."""
    fd = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
