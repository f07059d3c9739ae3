"""Many processes append to one log while they are killed and their connections are cut; one reads along.

Usage: python -m integration.processes.storm URL OBJECTS PROCESSES COMMANDS FILES SEED    (prints what it saw, as JSON)

The seed decides who dies at which point of progress and when which connection goes. The driver forks them all, so that
what was imported once costs a successor nothing, and has no threads, which a fork would lose.
"""

import asyncio
import json
import logging
import multiprocessing
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import trio
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from artifactstore import Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from integration.processes.appender import (
    ASKERS,
    LAST,
    Acknowledged,
    Appender,
    Asked,
    Doom,
    Point,
    Report,
    Ripe,
    Unknown,
    Unwritten,
    append,
    append_the_last,
    events_of,
    opened,
)

_FORK = multiprocessing.get_context("fork")
_DEATHS_A_PROCESS = 2
_CUTS = 24  # at most; several may strike one session


@dataclass(slots=True)
class _Process:
    """A process that appends, or did."""

    task: Appender
    handle: BaseProcess


@dataclass(slots=True)
class Storm:
    """What is known from outside: the reports, and nothing else.

    Attributes:
        acknowledged: the sequences of each command that was answered.
        doubtful: commands that may be in the log although no answer came.
        seen: sequence and event id of each event that the tail gave, in its order.
        happened: how often what happened.
    """

    settings: Settings
    processes: int
    commands: int
    files: int
    draws: random.Random
    acknowledged: dict[Asked, tuple[int, ...]] = field(default_factory=dict[Asked, tuple[int, ...]])
    doubtful: set[Asked] = field(default_factory=set[Asked])
    seen: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    happened: Counter[str] = field(default_factory=Counter[str])
    _dooms: dict[int, list[Doom]] = field(default_factory=dict[int, list[Doom]])
    _running: "dict[Connection[Any, Any], _Process]" = field(default_factory=dict["Connection[Any, Any]", _Process])

    def run(self) -> None:
        """From the first process to the last event."""
        points = list(Point)
        for process in range(self.processes):
            # Early enough that there is work left for the successor.
            first, second = self.draws.choices(points, k=_DEATHS_A_PROCESS)
            self._dooms[process] = [self._doom(second, 4), self._doom(first, self.commands // 2)]
        tail, tailing = self._fork(_tail, self.settings)
        for process in range(self.processes):
            self._start(process, tuple([0] * ASKERS))
        total = self.processes * ASKERS * self.commands
        cuts = [] if self._is_sqlite else sorted(self.draws.sample(range(total), _CUTS), reverse=True)
        while self._running:
            ready = wait([tail, *self._running])
            if tail in ready:
                self._read_along(tail)
            for reports in [each for each in self._running if each in ready]:
                self._hear(reports)
            while cuts and cuts[-1] <= len(self.acknowledged):
                cuts.pop()
                self.happened["cut"] += asyncio.run(_cut_a_connection(self.settings, self.draws.randrange(1 << 16)))
        append_the_last(self.settings)
        while self._read_along(tail):
            pass
        tailing.join()

    @property
    def _is_sqlite(self) -> bool:
        return DatabaseLocation.parse(self.settings.database_url).is_sqlite

    def _doom(self, point: Point, transactions: int) -> Doom:
        """Every transaction answers up to one command of each asker."""
        by_command = point in {Point.ASKING, Point.ACKNOWLEDGED, Point.ANYWHERE}
        return Doom(point, self.draws.randint(1, transactions * ASKERS if by_command else transactions))

    def _start(self, process: int, begin: tuple[int, ...]) -> None:
        dooms = self._dooms[process]
        task = Appender(self.settings, process, begin, self.commands, self.files, dooms.pop() if dooms else None)
        reports, handle = self._fork(append, task)
        self._running[reports] = _Process(task, handle)

    def _fork(self, work: Callable[..., None], task: object) -> "tuple[Connection, BaseProcess]":
        receive, send = _FORK.Pipe(duplex=False)
        handle = _FORK.Process(target=work, args=(task, send.send), daemon=True)
        handle.start()
        send.close()
        return receive, handle

    def _read_along(self, tail: "Connection") -> bool:
        try:
            self.seen.append(tail.recv())
        except EOFError:
            return False
        return True

    def _hear(self, reports: "Connection") -> None:
        process = self._running[reports]
        try:
            report: Report = reports.recv()
        except EOFError:
            del self._running[reports]
            reports.close()
            self._ended(process)
            return
        match report:
            case Acknowledged():
                self._note(report)
            case Unwritten():
                self.happened["nothing written"] += 1
            case Unknown():
                self.happened["unknown"] += 1
                self.doubtful.add(report.asked)
            case Ripe():
                process.handle.kill()

    def _note(self, report: Acknowledged) -> None:
        earlier = self.acknowledged.setdefault(report.asked, report.sequences)
        if earlier != report.sequences:
            raise AssertionError(f"{report.asked} was answered {earlier}, and then {report.sequences}")
        if report.repeated:
            self.happened["found"] += 1
            if report.asked not in self.doubtful:
                raise AssertionError(f"{report.asked} is in the log, and was said not to be")

    def _ended(self, process: _Process) -> None:
        process.handle.join()
        code, doom = process.handle.exitcode, process.task.doom
        if doom is None and code == 0:
            return
        if doom is None or code != -signal.SIGKILL:
            raise AssertionError(f"{process.task} ended with {code}")
        self.happened["killed"] += 1
        self.happened[f"killed {doom.point}"] += 1
        self._start(process.task.process, tuple(self._go_on(process.task, asker) for asker in range(ASKERS)))

    def _go_on(self, task: Appender, asker: int) -> int:
        """Where the successor begins: with the last answer once more, with the question that was open, or after it."""
        answered = [asked.index for asked in self.acknowledged if (asked.process, asked.asker) == (task.process, asker)]
        unanswered = max([task.begin[asker], *(index + 1 for index in answered)])
        again = self.draws.choice([unanswered - 1, unanswered, unanswered + 1] if answered else [unanswered])
        self.doubtful |= {Asked(task.process, asker, index) for index in range(again, unanswered + 1)}
        self.doubtful.add(Asked(task.process, asker, unanswered))
        return again


async def _cut_a_connection(settings: Settings, draw: int) -> int:
    """End one session, half of the time one that is at work. Returns how many ended."""
    location = DatabaseLocation.parse(settings.database_url)
    engine = create_async_engine(location.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        found = await connection.execute(
            text(
                "SELECT pid, state <> 'idle' FROM pg_stat_activity WHERE datname = current_database() "
                "AND backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid"
            )
        )
        sessions = [(pid, busy) for pid, busy in found]
        chosen = [pid for pid, busy in sessions if busy or draw % 2] or [pid for pid, _busy in sessions]
        ended = await connection.scalar(
            text("SELECT pg_terminate_backend(:pid)"), {"pid": chosen[draw // 2 % len(chosen)]}
        )
    return int(bool(ended))


def _tail(settings: Settings, report: Callable[[tuple[int, str]], None]) -> None:
    async def run() -> None:
        [last] = events_of(Asked(LAST, 0, 0))
        async with opened(lambda: open_registry(settings)) as registry, registry.tail_events() as tail:
            async for stored in tail:  # through every cut of its own connections
                report((stored.sequence, stored.event.event_id))
                if stored.event.event_id == last:
                    return

    trio.run(run)


def _facts(storm: Storm) -> dict[str, Any]:
    def key(asked: Asked) -> list[int]:
        return [asked.process, asked.asker, asked.index]

    return {
        "acknowledged": [[key(asked), sequences] for asked, sequences in storm.acknowledged.items()],
        "doubtful": [key(asked) for asked in storm.doubtful],
        "seen": storm.seen,
        "happened": storm.happened,
    }


def main(url: str, objects: str, processes: int, commands: int, files: int, seed: int) -> None:
    # The test reads stderr for errors; that a commit was slow is a warning, and true on a busy machine.
    logging.getLogger("artifactstore").setLevel(logging.ERROR)
    settings = Settings(database_url=url, storage_local_root=Path(objects))
    storm = Storm(settings, processes, commands, files, random.Random(seed))  # noqa: S311
    storm.run()
    sys.stdout.write(json.dumps(_facts(storm)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
