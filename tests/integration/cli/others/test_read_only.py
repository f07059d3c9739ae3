"""A store that can be read and not written: mounted read-only, without permission, or on a disk that is full."""

import shutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from integration.cli.harness import Cli
from integration.cli.others.elsewhere import Elsewhere, needs_root
from stored_objects import overwrite

pytestmark = [needs_root, pytest.mark.slow]

_STRANGER = (4001, 4001)


def read_only_mount(directory: Path) -> list[str]:
    return [f"mount --bind '{directory}' '{directory}'", f"mount -o remount,ro,bind '{directory}'"]


@pytest.fixture
def filled(cli: Cli, tree: Path, tmp_path: Path) -> Cli:
    """A store with a package that is finalized and one that is open, with a log and a backup of it beside."""
    cli.ok("ingest", tree, "--name", "finalized")
    cli.ok("package", "create", "open")
    cli.ok("events", "--export", tmp_path / "log.cbor")
    cli.ok("backup", tmp_path / "backup")
    (tmp_path / "out").mkdir(mode=0o777)
    (tmp_path / "out").chmod(0o777)
    return cli


def nothing_beside(_cli: Cli) -> None:
    """All processes ended in order: SQLite has removed the other two files."""


def log_left(cli: Cli) -> None:
    """All processes were killed, and somebody has copied the database with its log, but not the index of that."""
    aside = cli.database.with_name("aside")
    aside.mkdir()
    with closing(sqlite3.connect(cli.database)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens all three files
        cli.ok("package", "create", "newest")
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{cli.database}{suffix}", aside / f"log.db{suffix}")
    for suffix in ("", "-wal"):
        shutil.copyfile(aside / f"log.db{suffix}", f"{cli.database}{suffix}")
    assert not Path(f"{cli.database}-shm").exists()
    assert Path(f"{cli.database}-wal").stat().st_size > 0


def both_left(cli: Cli) -> None:
    """All processes were killed, and left all three files."""
    log_left(cli)
    Path(f"{cli.database}-shm").touch()


@contextmanager
def in_use(cli: Cli) -> Generator[None]:
    """Another process, where the store is writable, has it open."""
    with closing(sqlite3.connect(cli.database)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens all three files
        cli.ok("package", "create", "newest")
        yield


def check(place: Elsewhere, tmp_path: Path, names: set[str], because: str) -> None:
    """Everything is read, every change is refused for this reason, and health and doctor say so."""
    out, tree, log, backup = (tmp_path / name for name in ("out", "tree", "log.cbor", "backup"))
    reads: list[list[str | Path]] = [
        ["package", "list", "--json"],
        ["get", "finalized", "README.md"],
        ["package", "show", "finalized"],
        ["manifest", "finalized"],
        ["export", "finalized", out / "tree"],
        ["events"],
        ["history"],
        ["verify"],
        ["replay", "--check"],
        ["backup", out / "backup"],
        ["backup", "--check", out / "backup"],
    ]
    writes: list[list[str | Path]] = [
        ["ingest", tree, "--name", "new"],
        ["package", "create", "new"],
        ["package", "add", "open", tree],
        ["package", "add", "open", tree / "README.md", "--as", "x"],
        ["package", "finalize", "open"],
        ["events", "--import", log],
        ["restore", backup],
        ["replay"],
        ["migrate"],
    ]
    health, doctor, *ran = place.run(["health", "--json"], ["doctor"], *reads, *writes)
    read, written = ran[: len(reads)], ran[len(reads) :]
    assert [(each.code, each.err) for each in read] == [(0, "")] * len(reads)
    assert {line["name"] for line in read[0].json_lines} == names
    assert read[1].text == "# hello\n"
    assert (out / "tree" / "README.md").read_bytes() == b"# hello\n"
    for each in written:
        assert (each.code, each.text) == (1, ""), each
        assert each.err.startswith(f"artifactstore: the store is read-only because {because}"), each
        assert each.err.count("\n") == 1
    assert health.code == 1
    assert f"the store is read-only because {because}" in health.json["components"]["database"]["detail"]
    assert health.json["components"]["registry"]["healthy"]
    assert doctor.code == 1
    assert f"the store is read-only because {because}" in doctor.text


def times_of(directory: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


@pytest.mark.parametrize("leave", [nothing_beside, log_left, both_left])
def test_a_store_on_a_read_only_mount_is_read(filled: Cli, tmp_path: Path, leave: Callable[[Cli], None]) -> None:
    leave(filled)
    store, before = filled.database.parent, times_of(filled.database.parent)
    names = {"finalized", "open"} if leave is nothing_beside else {"finalized", "open", "newest"}
    check(Elsewhere(read_only_mount(store)), tmp_path, names, f"the file system of {store} is mounted read-only")
    assert times_of(store) == before


def test_a_store_that_others_write_is_read_through_a_read_only_mount(filled: Cli, tmp_path: Path) -> None:
    store = filled.database.parent
    with in_use(filled):
        because = f"the file system of {store} is mounted read-only"
        check(Elsewhere(read_only_mount(store)), tmp_path, {"finalized", "open", "newest"}, because)


def test_a_store_without_permission_to_write_is_read(filled: Cli, tmp_path: Path) -> None:
    log_left(filled)
    for path in (filled.database.parent, *filled.database.parent.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    because = f"this user may not write to {filled.database}, which belongs to root"
    check(Elsewhere(user=_STRANGER), tmp_path, {"finalized", "open", "newest"}, because)


def test_flaws_that_cannot_be_recorded_are_told_all_the_same(filled: Cli, tmp_path: Path) -> None:
    victim = filled.object_of(filled.json("package", "show", "finalized")["file_list"][0]["content_address"])
    overwrite(victim, b"x" * len(victim.read_bytes()))
    [ran] = Elsewhere(read_only_mount(filled.database.parent)).run(["verify", "--json"])
    assert ran.code == 3
    assert len(ran.json["mismatches"]) == 1
    assert ran.json["not_recorded"].startswith("the store is read-only because ")


@pytest.mark.parametrize("log", ["none", "left"])
def test_a_store_on_a_full_disk_is_read(filled: Cli, tmp_path: Path, log: str) -> None:
    if log == "left":
        log_left(filled)
    store = filled.database.parent
    names = {"finalized", "open", "newest"} if log == "left" else {"finalized", "open"}
    place = Elsewhere(
        [
            f"cp -a '{store}' '{tmp_path}/copy'",
            f"mount -t tmpfs -o size=4m none '{store}'",
            f"cp -a '{tmp_path}/copy/.' '{store}'",
            f"cat /dev/zero > '{store}/fill' || true",
            f"test $(stat -f -c %a '{store}') = 0",
        ]
    )
    listed, got, doctor, made = place.run(
        ["package", "list", "--json"], ["get", "finalized", "README.md"], ["doctor"], ["package", "create", "new"]
    )
    assert (listed.code, listed.err) == (0, "")
    assert {line["name"] for line in listed.json_lines} == names
    assert got.err == ""
    assert got.text == "# hello\n"
    assert "only 0 bytes are free" in doctor.text
    assert made.code == 1
    assert "there is no room on its disk" in made.err


def test_a_replay_without_a_temporary_directory_says_so(filled: Cli, tmp_path: Path) -> None:
    """As in a container whose root is read-only: nothing but the store can be written."""
    for number in range(400):
        (tmp_path / "many" / f"{number}").parent.mkdir(exist_ok=True)
        (tmp_path / "many" / f"{number}").write_text(f"{number}")
    filled.ok("ingest", tmp_path / "many", "--name", "many")
    store, temporary = filled.database.parent, ("/tmp", str(tmp_path))  # noqa: S108 - the usual ones
    read_only = [f"mount --rbind '{path}' '{path}' && mount -o remount,ro,bind '{path}'" for path in temporary]
    hidden = [f"mount -t tmpfs -o ro none {path}" for path in ("/dev/shm", "/var/tmp")]  # noqa: S108 - likewise
    place = Elsewhere([f"mount --bind '{store}' '{store}'", *read_only, *hidden])
    replay, verified, made = place.run(["replay"], ["verify"], ["package", "create", "new"])
    assert (replay.code, replay.text) == (1, "")
    assert "there is no room for temporary files" in replay.err
    assert "TMPDIR" in replay.err
    assert (verified.code, made.code) == (0, 0)
