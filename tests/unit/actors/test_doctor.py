"""The doctor's checks: each finds its own trouble and no other, and says what to do about it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from artifactstore.backends.small_inspection import SmallInspection
from artifactstore.database.errors import LogDamaged
from artifactstore.database.inspection import DatabaseInspection, UnfinishedPackage
from artifactstore.database.schema import SCHEMA_REVISION
from artifactstore.dataplane import DeniedPath, RootInspection
from artifactstore.doctor import CHECKS, Inspection, examine
from artifactstore.doctor.holders import holders_of
from artifactstore.doctor.inspection import Setting
from artifactstore_protocols.event_store import Location
from artifactstore_protocols.root_markers import RootMarker
from artifactstore_protocols.unfinished_import import ImportUnfinished

NOW_US = 1_700_000_000_000_000
STORE = "0198f3a0-7c00-4000-8000-000000000001"
ANOTHER_STORE = "0198f3a0-7c00-4000-8000-000000000002"
DAY_US = 24 * 3600 * 1_000_000
LOCATIONS = tuple(
    Location(f"blake3:{digit * 64}", "local", f"blake3/{digit * 64}", "0" * 64, 7, "intact") for digit in "abc"
)
DATABASE = DatabaseInspection(SCHEMA_REVISION, NOW_US, LOCATIONS, (UnfinishedPackage("p1", NOW_US - DAY_US),))
ROOT = RootInspection(exists=True, writable=True, free_bytes=1 << 40, free_inodes=None, holds_objects=True)
WELL = Inspection(
    now_us=NOW_US,
    user="7:8",
    database="/s/log.db",
    database_file=True,
    database_found=DATABASE,
    database_free_bytes=1 << 40,
    root="/s/objects",
    root_found=ROOT,
)
NEW = Inspection(
    NOW_US,
    database="/s/log.db",
    database_file=False,
    root="/s/objects",
    root_found=replace(ROOT, exists=False, holds_objects=False),
)


def with_database(**seen: object) -> Inspection:
    return replace(WELL, database_found=replace(DATABASE, **seen))


def with_root(**seen: object) -> Inspection:
    return replace(WELL, root_found=replace(ROOT, **seen))


def with_marker(marker: RootMarker, **seen: object) -> Inspection:
    return replace(with_database(**seen), root_found=replace(ROOT, marker=marker))


def with_small(**seen: object) -> Inspection:
    small = replace(SmallInspection("/s/objects/small/objects.db"), **seen)
    return with_root(small=small)


def keys(count: int) -> tuple[str, ...]:
    return tuple(location.object_key for location in LOCATIONS[:count])


def test_a_store_that_is_well_has_nothing() -> None:
    assert examine(WELL) == ()
    assert examine(replace(WELL, database_file=None, database_free_bytes=None)) == ()
    assert examine(with_database(revision=None, last_recorded_at_us=None, locations=(), open_packages=())) != ()


TROUBLE: list[tuple[str, Inspection, str, str]] = [
    (
        "unknown settings",
        replace(WELL, suggested_settings={"ARTIFACTSTORE_LOG_LEVLE": "ARTIFACTSTORE_LOG_LEVEL"}),
        "ARTIFACTSTORE_LOG_LEVLE is set, and there is no such setting",
        "use ARTIFACTSTORE_LOG_LEVEL; until then every command refuses to run",
    ),
    ("unknown settings", replace(WELL, unknown_variables=("ARTIFACTSTORE_Q",)), "ARTIFACTSTORE_Q is set", "unset it"),
    ("settings", Inspection(NOW_US, settings_refusal="it is wrong; use 1"), "it is wrong; use 1", "set it right"),
    (
        "database",
        replace(WELL, database_found=None, database_file=None, database="host/x", database_failure="refused"),
        "database host/x cannot be read: refused",
        "check that it runs and accepts this user, and the setting",
    ),
    (
        "database",
        replace(WELL, database_found=None, database_failure="file is not a database"),
        "database /s/log.db cannot be read: file is not a database",
        "check the file",
    ),
    (
        "database",
        replace(NEW, database_elsewhere="/log.db"),
        "there is no database /s/log.db, but there is /log.db",
        "run it from there",
    ),
    (
        "store",
        NEW,
        "there is no store at /s/log.db",
        "name one with --store DIR",
    ),
    (
        "database",
        with_database(read_only="this user may not write to /s/log.db, which belongs to root"),
        "the store is read-only because this user may not write to /s/log.db, which belongs to root",
        "as root, `chown 7:8 /s/log.db*`",
    ),
    (
        "small objects",
        with_small(exists=True, failure="file is not a database"),
        "the file of small objects /s/objects/small/objects.db cannot be read: file is not a database",
        "restore a backup",
    ),
    (
        "small objects",
        with_small(missing=("k",)),
        "the file of small objects /s/objects/small/objects.db is not there, and the log names objects in it",
        "put it back",
    ),
    (
        "small objects",
        with_small(exists=True, obstacle="this user may not write to /s/objects/small/objects.db"),
        "small objects cannot be stored: this user may not write to /s/objects/small/objects.db",
        "as root, run `chown 7:8 /s/objects/small/objects.db*`",
    ),
    (
        "small objects",
        replace(with_small(network="NFS"), settings={"storage_small_max": Setting(65536, "default")}),
        "/s/objects is on NFS, a network file system",
        "set ARTIFACTSTORE_STORAGE_SMALL_MAX=0",
    ),
    (
        "permissions",
        with_root(closed=tuple(DeniedPath(f"/s/objects/{n}", "root", "written to") for n in range(5))),
        "/s/objects/0 (of root), /s/objects/1 (of root), /s/objects/2 (of root) and 2 more",
        "as root, run `chown -R 7:8 /s/objects`",
    ),
    (
        "schema",
        with_database(revision="9999"),
        "has schema 9999, which this release",
        "use the artifactstore release that wrote it",
    ),
    (
        "log",
        with_database(log_damage=LogDamaged(8, "the last event is 7, and the head says 9")),
        "the log is damaged at sequence 8: the last event is 7, and the head says 9",
        "restore the database from a backup",
    ),
    (
        "unfinished import",
        with_database(unfinished_import=ImportUnfinished(4, 12, "artifactstore restore /b")),
        "an import into this store is not finished: 4 of 12 events are here",
        "wait for it if it runs, or finish it by `artifactstore restore /b`",
    ),
    (
        "collection",
        with_marker(RootMarker(ANOTHER_STORE, 0), store_id=STORE, head=7),
        f"store {STORE} may not collect here: this object root belongs to store {ANOTHER_STORE}",
        "`rm /s/objects/artifactstore-root`; the next command on this store claims /s/objects",
    ),
    (
        "collection",
        with_marker(RootMarker(STORE, 9, STORE), store_id=STORE, head=7),
        f"store {STORE} may not collect here: its log ends at event 7, and it has collected at event 9",
        "Restore the latest backup; if there is none, run `artifactstore verify`",
    ),
    (
        "collection",
        with_root(marker_failure="EACCES"),
        "says whose objects those below /s/objects are: Permission denied",
        "if no other database uses this root, run `rm /s/objects/artifactstore-root`",
    ),
    (
        "locks",
        replace(WELL, setup_lock=("process 7 (x)",)),
        "the set-up lock /s/log.db.lock is held by process 7 (x)",
        "wait for it or end it",
    ),
    (
        "locks",
        with_database(head_lock=()),
        "the head of the log is held by somebody that the system does not name",
        "end it if it is stuck",
    ),
    (
        "storage",
        with_root(failure="ENOTDIR", writable=False),
        "the storage root /s/objects cannot be looked at: a part of its path is not a directory",
        "check its path",
    ),
    ("storage", with_root(writable=False), "the storage root /s/objects cannot be written to", "give it to this user"),
    (
        "storage",
        with_root(exists=False, writable=False),
        "the storage root /s/objects cannot be made",
        "mount its device writable",
    ),
    (
        "flagged objects",
        with_database(flagged={"missing": 1, "damaged": 2}),
        "`artifactstore verify` found objects that are not whole: 2 damaged and 1 missing",
        "`artifactstore repair --from SOURCE`",
    ),
    (
        "unverified objects",
        with_database(unverified_since_us=NOW_US - 91 * DAY_US),
        "some objects were not read for 91 d",
        "`artifactstore verify --max-age 30d`",
    ),
    ("room", with_root(free_bytes=5), "only 5 bytes are free for objects below /s/objects", "free room"),
    ("room", with_root(free_inodes=5), "only 5 more files fit below /s/objects", "remove files"),
    ("room", replace(WELL, database_free_bytes=5), "only 5 bytes are free for the database /s/log.db", "free room"),
    (
        "leftovers",
        with_root(leftovers=("a.lock", "a.1")),
        "2 temp files or locks below /s/objects are of processes that are gone",
        "removes them",
    ),
    (
        "missing_objects",
        replace(NEW, root_found=ROOT),
        "there are objects below /s/objects, and no log in /s/log.db",
        "check ARTIFACTSTORE_DATABASE_URL",
    ),
    (
        "missing_objects",
        with_root(missing=keys(3)),
        "of 3 objects that the log names, none is below /s/objects",
        "check ARTIFACTSTORE_STORAGE_LOCAL_ROOT",
    ),
    (
        "missing_objects",
        with_root(missing=keys(2)),
        "of 3 objects that the log names, 2 are not below /s/objects",
        "run `artifactstore verify`",
    ),
    (
        "clock",
        with_database(last_recorded_at_us=NOW_US + 61_000_000),
        "this machine's clock is 61 s behind the last event",
        "set the clock",
    ),
    (
        "clock of expiry",
        with_database(observed_clock_us=NOW_US - 32 * DAY_US),
        "nothing expires: the clock says",
        "`artifactstore clock confirm`",
    ),
    (
        "left packages",
        with_database(open_packages=tuple(UnfinishedPackage(f"p{n}", NOW_US - DAY_US - 1) for n in range(5))),
        "5 packages are open and have not grown for a day: p0, p1, p2 and 2 more",
        "`artifactstore package finalize`",
    ),
]


@pytest.mark.parametrize(("check", "seen", "problem", "remedy"), TROUBLE, ids=[case[2] for case in TROUBLE])
def test_each_trouble_is_found_by_its_check_alone(check: str, seen: Inspection, problem: str, remedy: str) -> None:
    (found,) = examine(seen)
    assert found.check == check
    assert problem in found.problem
    assert remedy in found.remedy


def test_every_check_has_found_something_here() -> None:
    assert {case[0] for case in TROUBLE} == set(CHECKS)


def test_a_schema_of_an_earlier_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("artifactstore.doctor.checks.SCHEMA_REVISIONS", ("0000", SCHEMA_REVISION))
    (found,) = examine(with_database(revision="0000"))
    assert "has schema 0000 and this release needs" in found.problem
    assert found.remedy == "back it up, then run `artifactstore migrate`"


LISTED: Callable[[int], str] = """\
1: POSIX  ADVISORY  WRITE 4711 00:2e:{0} 120 120
2: POSIX  ADVISORY  WRITE 4712 00:2e:{0} 0 EOF
3: POSIX  ADVISORY  WRITE 4713 00:2e:{0} 121 EOF
4: POSIX  ADVISORY  READ  4714 00:2e:{0} 120 120
4: -> POSIX  ADVISORY  WRITE 4715 00:2e:{0} 120 120
5: FLOCK  ADVISORY  WRITE 4716 00:2e:{0} 0 EOF
6: POSIX  ADVISORY  WRITE 4717 00:2e:1 120 120
7: POSIX  ADVISORY  WRITE 0 00:2e:{0} 120 120
8: OFDLCK ADVISORY  WRITE -1 00:2e:{0} 120 120
9: POSIX  ADVISORY  WRITE 4711 00:2e:{0} 118 122
""".format


def test_holders_are_read_from_the_systems_list(tmp_path: Path) -> None:
    file, listed = tmp_path / "file", tmp_path / "locks"
    file.touch()
    listed.write_text(LISTED(file.stat().st_ino))
    assert [who.split()[1] for who in holders_of(file, "POSIX", byte=120, listed=listed)] == ["4711", "4712"]
    assert [who.split()[1] for who in holders_of(file, "FLOCK", listed=listed)] == ["4716"]
    assert holders_of(file, "FLOCK", listed=tmp_path / "no such list") == ()
    assert holders_of(tmp_path / "gone", "FLOCK", listed=listed) == ()
