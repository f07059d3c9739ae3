"""Processes ingest, delete, collect, read and back one store up at once, and are killed at random.

Usage: python -m integration.processes.life_storm URL OBJECTS DIRECTORY TURNS SECONDS SEED    (prints facts, as JSON)

Each of the ingesting processes ingests TURNS packages, or until SECONDS are over if that comes first, and deletes most
of them. The others work until the last ingest has ended. A process that is killed has a successor, which repeats what
was not answered. A file's content follows from its path, so every process can tell whether what it reads is whole.
"""

import json
import logging
import multiprocessing
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import trio

from artifactstore import Registry, Settings, open_registry
from artifactstore.errors import ArtifactStoreError, DatabaseBusy, OutcomeUnknown, PackageGone
from integration.registry.samples import content_of

_FORK = multiprocessing.get_context("fork")
_INGESTS = 4
_SHARED = 10
_SHARED_A_PACKAGE = 6
_KEPT = 2
_DEATHS_EVERY = 3

type Report = Callable[[tuple[str, ...]], None]


def content_at(path: str) -> bytes:
    """The content of a file: up to 256 KiB, half of the files small enough to be rows."""
    chance = random.Random(path)  # noqa: S311 - test data
    return chance.randbytes(chance.choice([100, 4_000, 60_000, 70_000, 256 << 10]))


def paths_of(number: int, turn: int) -> set[str]:
    """The files of a package: many have them all the time, and one is its own."""
    chosen = random.Random(f"{number} {turn}").sample(range(_SHARED), _SHARED_A_PACKAGE)  # noqa: S311
    return {*(f"shared-{each}" for each in chosen), f"own-{number}-{turn}"}


@dataclass(slots=True)
class Work:
    """What a process does: `ingest`, `collect`, `read` or `backup`.

    Attributes:
        turn: the first turn that is not answered.
        kept: the packages of this process that it has not begun to delete.
    """

    kind: str
    number: int
    turn: int = 0
    kept: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Storm:
    """What is known from outside: the reports, and nothing else.

    Attributes:
        packages: the number and the turn of each package whose ingest was answered.
        deleting: packages whose deletion was asked for.
        deleted: packages whose deletion was answered.
        happened: how often what happened.
    """

    settings: Settings
    directory: Path
    turns: int
    seconds: float
    draws: random.Random
    packages: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    deleting: set[str] = field(default_factory=set[str])
    deleted: set[str] = field(default_factory=set[str])
    happened: Counter[str] = field(default_factory=Counter[str])
    _running: "dict[Connection[Any, Any], tuple[Work, BaseProcess]]" = field(
        default_factory=dict["Connection[Any, Any]", "tuple[Work, BaseProcess]"]
    )

    def run(self) -> None:
        """From the first process to the end of the last."""
        until = time.monotonic() + self.seconds
        for number in range(_INGESTS):
            self._start(Work("ingest", number))
        for kind in ("collect", "collect", "read", "read", "backup"):
            self._start(Work(kind, len(self._running)))
        while self._running:
            ready = wait([*self._running], timeout=1)
            for reports in [each for each in self._running if each in ready]:
                self._hear(reports)
            if time.monotonic() > until:
                (self.directory / "no-more-turns").touch()
            if not any(work.kind == "ingest" for work, _process in self._running.values()):
                (self.directory / "end").touch()

    def _start(self, work: Work) -> None:
        receive, send = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=_be, args=(self, work, send.send), daemon=True)
        process.start()
        send.close()
        self._running[receive] = work, process

    def _hear(self, reports: "Connection") -> None:
        work, process = self._running[reports]
        try:
            report: tuple[str, ...] = reports.recv()
        except EOFError:
            del self._running[reports]
            reports.close()
            self._ended(work, process)
            return
        self.happened[report[0]] += 1
        match report:
            case "ingested", package:
                self.packages[package] = work.number, work.turn
                work.kept.append(package)
                work.turn += 1
                if len(self.packages) % _DEATHS_EVERY == 0:
                    self._kill()
            case "deleting", package:
                self.deleting.add(package)
                work.kept.remove(package)
            case "deleted", package:
                self.deleted.add(package)
            case _:
                pass

    def _kill(self) -> None:
        """Kill a process, of each kind in turn."""
        kind = ("collect", "ingest", "backup", "collect", "read")[len(self.packages) // _DEATHS_EVERY % 5]
        victims = [process for work, process in self._running.values() if work.kind == kind]
        if victims:
            self.draws.choice(victims).kill()

    def _ended(self, work: Work, process: BaseProcess) -> None:
        process.join()
        if process.exitcode == 0:
            return
        if process.exitcode != -signal.SIGKILL:
            raise AssertionError(f"{work} ended with {process.exitcode}")
        self.happened["killed"] += 1
        self.happened[f"killed {work.kind}"] += 1
        self._start(work)


def _be(storm: Storm, work: Work, report: Report) -> None:
    """Be a process of the storm."""
    trio.run(_KINDS[work.kind], storm, work, report)


async def _repeat[T](call: Callable[[], Awaitable[T]]) -> T:
    """Call until it is answered: on a busy machine, SQLite can let a writer wait for too long."""
    while True:
        try:
            return await call()
        except (DatabaseBusy, OutcomeUnknown):
            continue


async def _ingest(storm: Storm, work: Work, report: Report) -> None:
    chance = random.Random(f"{work.number} {work.turn}")  # noqa: S311
    tree = storm.directory / f"tree-{work.number}"
    tree.mkdir(exist_ok=True)
    kept = list(work.kept)
    async with open_registry(storm.settings) as registry:
        for turn in range(work.turn, storm.turns):
            if (storm.directory / "no-more-turns").exists():
                return
            _plant(tree, paths_of(work.number, turn))
            key = f"{work.number} {turn}"
            ingest = partial(registry.ingest_tree, tree, name=f"storm-{work.number}", idempotency_key=key)
            package = (await _repeat(ingest)).package_id
            report(("ingested", package))
            kept.append(package)
            while len(kept) > _KEPT:
                gone = kept.pop(chance.randrange(len(kept)))
                report(("deleting", gone))
                await _repeat(partial(registry.delete_package, gone, reason="a storm", before_expiry=True))
                report(("deleted", gone))


def _plant(tree: Path, paths: set[str]) -> None:
    """Let a directory have these files only. Those that stay are not touched, so that the cache of files knows them."""
    for path in {each.name for each in tree.iterdir()} - paths:
        (tree / path).unlink()
    for path in paths:
        content = content_at(path)
        if not (tree / path).exists() or (tree / path).stat().st_size != len(content):
            (tree / path).write_bytes(content)


async def _until_the_end(storm: Storm, act: Callable[[Registry], Awaitable[None]]) -> None:
    async with open_registry(storm.settings) as registry:
        is_over = False
        while not is_over:
            is_over = (storm.directory / "end").exists()  # before the last round
            await act(registry)


async def _collect(storm: Storm, work: Work, report: Report) -> None:
    del work

    async def collect(registry: Registry) -> None:
        collected = await _repeat(partial(registry.collect_garbage, grace_s=0.0))
        if collected.failures:
            raise AssertionError(collected.failures)
        report(("collected",))

    await _until_the_end(storm, collect)


async def _read(storm: Storm, work: Work, report: Report) -> None:
    del work

    async def read(registry: Registry) -> None:
        found = [package async for package in registry.list_packages()]
        for package in found:
            if package.status == "finalized":
                await _read_package(registry, package.package_id, report)

    await _until_the_end(storm, read)


async def _read_package(registry: Registry, package: str, report: Report) -> None:
    """Every file is whole, or an error says that it is gone, and then its package is."""
    try:
        for file in await registry.list_files(package):
            content = await content_of(registry, package, file.path)
            if content != content_at(file.path):
                raise AssertionError(f"{package} has other bytes at {file.path}")
    except PackageGone:
        report(("read late",))
    except DatabaseBusy:
        report(("not read",))
    except ArtifactStoreError as error:
        if not (await _repeat(partial(registry.get_package, package))).is_gone:
            raise AssertionError(f"{package} is there and cannot be read") from error
        report((f"read too late: {type(error).__name__}",))
    else:
        report(("read",))


async def _backup(storm: Storm, work: Work, report: Report) -> None:
    del work

    async def backup(registry: Registry) -> None:
        made = await _repeat(partial(registry.backup, storm.directory / "backup"))
        if made.flaws.missing_objects or made.flaws.damaged_objects:
            raise AssertionError(made)
        report(("backed up",))

    await _until_the_end(storm, backup)


_KINDS: dict[str, Callable[[Storm, Work, Report], Awaitable[None]]] = {
    "ingest": _ingest,
    "collect": _collect,
    "read": _read,
    "backup": _backup,
}


def main(url: str, objects: str, directory: str, turns: int, seconds: int, seed: int) -> None:
    # The test reads stderr for errors; that a commit was slow is a warning, and true on a busy machine.
    logging.getLogger("artifactstore").setLevel(logging.ERROR)
    settings = Settings(database_url=url, storage_local_root=Path(objects))
    storm = Storm(settings, Path(directory), turns, seconds, random.Random(seed))  # noqa: S311
    storm.run()
    facts = {
        "packages": storm.packages,
        "deleting": sorted(storm.deleting),
        "deleted": sorted(storm.deleted),
        "happened": storm.happened,
    }
    sys.stdout.write(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
