"""The rows of the benchmark: what each compares, and one function for each group of rows that share their set-up.

Processes are measured whole, from start to exit, unless the contender says that it measures inside.
"""

import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from bench.measure import OURS, ROOT, Bench, Contender, Row, Sample

__all__ = ["GROUPS", "ROWS"]

_SMALL_FILES: Final = 10_000
_SMALL_BYTES: Final = (1 << 10, 4 << 10)
_REPLAYED_FILES: Final = 40_000
_MANY_FILES: Final = 100_000
_PACKAGES: Final = 10
_MIDDLE_FILES: Final = 64
_MIDDLE_BYTES: Final = 8 << 20
_LARGE_BYTES: Final = 1 << 30
_PRODUCERS: Final = 64
_COMMANDS: Final = 2_048
_STARTS_A_ROUND: Final = 5
_FILES_A_DIRECTORY: Final = 100
_PIECE_BYTES: Final = 8 << 20

ROWS: Final = (
    Row("ingest", "ingest of 10,000 files of 1 to 4 KiB", "borg", "borg create, no compression or encryption", 1.0),
    Row("ingest-again", "ingest of the same tree, unchanged", "borg", "borg create again", 1.2),
    Row("export", "export of it", "borg", "borg extract", 1.0),
    Row("verify", "verify of it", "borg", "borg check --verify-data", 1.2),
    Row("ingest-8m", "ingest of 64 files of 8 MiB", "cp", "cp -r and sync", 1.5),
    Row("ingest-1g", "ingest of one file of 1 GiB", "cp", "cp and sync", 1.25),
    Row("verify-1g", "verify of 1 GiB", "hashes", "both hashes of the same bytes in memory, one core", 1.2),
    Row("replay", "replay --check of 40,000 files, in-process", "sqlite3", "executemany of the same rows", 7.0),
    Row("backup", "backup of the 10,000 files", "borg", "borg create", 1.2),
    Row("append-64", "small commands from 64 producers", "sqlite3", "one row set a transaction, one thread", 1.0),
    Row("append-1", "small commands from one producer", "sqlite3", "one row set a transaction, one thread", 8.0),
    Row("million", "last 100,000 of 1,000,000 files", "first package", "first 100,000", 1.15, long=True),
    Row("million-replay", "peak memory of replay of 1,000,000 files", None, "", 250, "MiB", long=True),
    Row("database", "database bytes a small file, first ingest", None, "", 1000, "B"),
    Row("database-again", "database bytes a small file, second ingest", None, "", 650, "B"),
    Row("memory", "peak memory of ingest of 100,000 small files", None, "", 300, "MiB"),
    Row("start", "health --json", "python", "python -c 'import trio, typer, sqlalchemy.ext.asyncio'", 1.3),
)


def ours(store: Path, *arguments: str | Path, target: Path | None = None) -> Contender:
    """Return a command of artifactstore on a store. It writes to the store, or to `target`."""
    return Contender((Path(sys.executable).with_name(OURS), "--store", store, *arguments), target or store)


def inside(measurement: str, *arguments: str | Path | int, target: Path) -> Contender:
    """Return a measurement of `bench.inside`, in a process of its own."""
    command = (sys.executable, "-m", "bench.inside", measurement, *map(str, arguments))
    return Contender(command, target, cwd=ROOT, inside=True)


def make_tree(tree: Path, files: int, seed: int) -> Path:
    """Write that many small files with contents that follow from the seed, 100 in each directory."""
    draw = random.Random(seed)  # noqa: S311 - contents for a measurement
    for number in range(files):
        name, place = divmod(number, _FILES_A_DIRECTORY)
        directory = tree / f"part-{name:04}"
        if place == 0:
            directory.mkdir(parents=True)
        (directory / f"file-{place:02}.txt").write_bytes(draw.randbytes(draw.randint(*_SMALL_BYTES)))
    return tree


def make_files(tree: Path, files: int, size_bytes: int) -> Path:
    """Write that many files of one size."""
    draw = random.Random(size_bytes)  # noqa: S311 - contents for a measurement
    tree.mkdir()
    for number in range(files):
        with (tree / f"{number:02}.bin").open("wb") as file:
            for start in range(0, size_bytes, _PIECE_BYTES):
                file.write(draw.randbytes(min(_PIECE_BYTES, size_bytes - start)))
    return tree


def small_files(bench: Bench) -> None:
    """Ingest, export, verify, back up and ingest again one tree of small files."""
    tree = make_tree(bench.work / "tree", bench.size(_SMALL_FILES), seed=1)
    for turn, here in bench.each_round():
        bench.prepare(*ours(here / "store", "migrate").command)
        bench.prepare("borg", "init", "--encryption", "none", here / "borg")
        bench.prepare("restic", "init", "--repo", here / "restic")
        cp = Contender(("cp", "-r", "--reflink=never", tree, here / "cp"), here)
        first = _save(bench, "ingest", turn, {**_saving(here, tree, "first"), "cp": cp})
        if "export" in bench.wanted:
            (here / "by-borg").mkdir()
            bench.compare("export", turn, _exporting(here))
        if "verify" in bench.wanted:
            bench.compare("verify", turn, _verifying(here))
        if "backup" in bench.wanted:
            backup = ours(here / "store", "backup", here / "backup", "-q", target=here)
            bench.compare("backup", turn, {OURS: backup})
            for peer in first.keys() & {"borg", "restic"}:
                bench.record("backup", peer, first[peer])
        if bench.wanted & {"ingest-again", "database-again"}:
            _save(bench, "ingest-again", turn, _saving(here, tree, "second"))
    shutil.rmtree(tree)


def _saving(here: Path, tree: Path, name: str) -> dict[str, Contender]:
    borg, restic = here / "borg", here / "restic"
    return {
        OURS: ours(here / "store", "ingest", tree, "--name", name, "-q"),
        "borg": Contender(("borg", "create", "--compression", "none", f"{borg}::{name}", "."), borg, cwd=tree),
        "restic": Contender(("restic", "--repo", restic, "backup", "--compression", "off", "."), restic, cwd=tree),
    }


def _exporting(here: Path) -> dict[str, Contender]:
    restic = ("restic", "--repo", here / "restic", "restore", "latest", "--target", here / "by-restic")
    return {
        OURS: ours(here / "store", "export", "first", here / "by-us", "-q", target=here),
        "borg": Contender(("borg", "extract", f"{here / 'borg'}::first"), here, cwd=here / "by-borg"),
        "restic": Contender(restic, here),
    }


def _verifying(here: Path) -> dict[str, Contender]:
    return {
        OURS: ours(here / "store", "verify", "-q"),
        "borg": Contender(("borg", "check", "--verify-data", here / "borg"), here),
        "restic": Contender(("restic", "--repo", here / "restic", "check", "--read-data"), here),
    }


def _save(bench: Bench, row: str, turn: int, contenders: Mapping[str, Contender]) -> dict[str, Sample]:
    """Measure the ingest of a tree, and by how much the database grows with each file."""
    database = contenders[OURS].target / "artifactstore.db"
    before = _size_bytes(database)
    found = bench.compare(row, turn, contenders)
    grown = (_size_bytes(database) - before) / bench.size(_SMALL_FILES)
    bench.record(row.replace("ingest", "database"), OURS, Sample(grown))
    return found


def _size_bytes(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        pages, page_bytes = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages) * int(page_bytes)


def large_files(bench: Bench) -> None:
    """Ingest files of 8 MiB and one of 1 GiB, and verify the latter."""
    shapes = {"ingest-8m": (_MIDDLE_FILES, _MIDDLE_BYTES), "ingest-1g": (1, _LARGE_BYTES)}
    for row, (files, size_bytes) in shapes.items():
        verifies = row == "ingest-1g" and "verify-1g" in bench.wanted
        if row not in bench.wanted and not verifies:
            continue
        tree = make_files(bench.work / "tree", files, bench.size(size_bytes))
        for turn, here in bench.each_round():
            store = here / "store"
            bench.prepare(*ours(store, "migrate").command)
            contenders = {
                OURS: ours(store, "ingest", tree, "-q"),
                "cp": Contender(("cp", "-r", "--reflink=never", tree, here / "cp"), here),
            }
            bench.compare(row, turn, contenders)
            if verifies:
                verified = {OURS: ours(store, "verify", "-q"), "hashes": inside("hashes", tree / "00.bin", target=here)}
                bench.compare("verify-1g", turn, verified)
        shutil.rmtree(tree)


def replay(bench: Bench) -> None:
    """Replay a log against inserting the rows that it implies."""
    store = bench.work / "store"
    tree = make_tree(bench.work / "tree", bench.size(_REPLAYED_FILES), seed=2)
    bench.prepare(*ours(store, "ingest", tree, "-q").command)
    shutil.rmtree(tree)
    for turn, _here in bench.each_round():
        contenders = {
            OURS: inside("replay", store, target=store),
            "sqlite3": inside("insert-rows", store, target=store),
        }
        bench.compare("replay", turn, contenders)
    shutil.rmtree(store)


def appends(bench: Bench) -> None:
    """Open packages, which is one small command each, beside bare inserts of the rows that this makes."""
    commands = bench.size(_COMMANDS, _PRODUCERS)
    sample = bench.work / "store"
    bench.run(inside("append", sample, commands, _PRODUCERS, target=bench.work))
    for row, producers in (("append-64", _PRODUCERS), ("append-1", 1)):
        if row in bench.wanted:
            for turn, here in bench.each_round():
                contenders = {
                    OURS: inside("append", here / "store", commands, producers, target=here),
                    "sqlite3": inside("insert-row-sets", sample, here / "bare.db", commands, target=here),
                }
                bench.compare(row, turn, contenders)
    shutil.rmtree(sample)


def million(bench: Bench) -> None:
    """Fill one store with packages of 100,000 files; one round, because it takes long."""
    files, packages = bench.size(_MANY_FILES), bench.size(_PACKAGES, 2)
    for _turn, here in bench.each_round(rounds=1, profiled=False):
        store = here / "store"
        bench.prepare(*ours(store, "migrate").command)
        for package in range(packages):
            tree = make_tree(here / "tree", files, seed=1000 + package)
            sample = bench.run(ours(store, "ingest", tree, "--name", f"package-{package}", "-q"))
            if package in {0, packages - 1}:
                bench.record("million", OURS if package else "first package", sample)
            shutil.rmtree(tree)
        if "million-replay" in bench.wanted:
            sample = bench.run(ours(store, "replay", "-q"))
            bench.record("million-replay", OURS, Sample(sample.peak_mib or 0.0, sample.cpu_s, sample.peak_mib))


def memory(bench: Bench) -> None:
    """Ingest 100,000 small files and keep the peak of resident memory."""
    tree = make_tree(bench.work / "tree", bench.size(_MANY_FILES), seed=3)
    for _turn, here in bench.each_round(profiled=False):
        sample = bench.run(ours(here / "store", "ingest", tree, "-q", target=here))
        bench.record("memory", OURS, Sample(sample.peak_mib or 0.0, sample.cpu_s, sample.peak_mib))
    shutil.rmtree(tree)


def start(bench: Bench) -> None:
    """Ask an idle store for its health, beside importing the libraries that this takes."""
    store = bench.work / "store"
    bench.prepare(*ours(store, "migrate").command)
    imports = (sys.executable, "-c", "import trio, typer, sqlalchemy.ext.asyncio")
    for turn, _here in bench.each_round():
        for start in range(bench.size(_STARTS_A_ROUND)):
            contenders = {OURS: ours(store, "health", "--json"), "python": Contender(imports, store)}
            bench.compare("start", turn + start, contenders)
    shutil.rmtree(store)


GROUPS: Final[Mapping[Callable[[Bench], None], frozenset[str]]] = {
    start: frozenset({"start"}),
    small_files: frozenset(
        {"ingest", "ingest-again", "export", "verify", "backup", "database", "database-again"},
    ),
    large_files: frozenset({"ingest-8m", "ingest-1g", "verify-1g"}),
    appends: frozenset({"append-64", "append-1"}),
    replay: frozenset({"replay"}),
    memory: frozenset({"memory"}),
    million: frozenset({"million", "million-replay"}),
}
"""The functions that measure, in the order in which they run, with the rows that each of them gives."""
