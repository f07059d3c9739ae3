"""A process that appends: the whole tree of a store, many askers at once, and a death at a point that was drawn for it.

What it asks follows from its number, so its successor asks the same commands again and finds out what became of those
that it was killed over. It says what was acknowledged before it continues; a report that was sent survives the process.
"""

import os
import signal
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import trio

from artifactstore import Settings
from artifactstore.database.asyncio_core import AsyncTransaction
from artifactstore.database.errors import DatabaseUnavailable, OutcomeUnknown
from artifactstore.open import open_store
from artifactstore.supervision import ActorRef, ActorSpec
from artifactstore.tree import Actors
from artifactstore_protocols.commands import CommandRequest, CreatePackage, IngestFiles, OnExisting
from artifactstore_protocols.events import Committed
from artifactstore_protocols.ids import event_id_of
from artifactstore_protocols.messages import Commit, WriterRole
from command_strategies import ingested

__all__ = [
    "ASKERS",
    "LAST",
    "Acknowledged",
    "Appender",
    "Asked",
    "Doom",
    "Point",
    "Report",
    "Ripe",
    "Unknown",
    "Unwritten",
    "append",
    "append_the_last",
    "events_of",
    "opened",
]

ASKERS = 8
"""How many tasks of a process ask at once, each filling a package of its own, command by command."""

LAST = 0xFF
"""The number of the process that appends the last event of all."""

_UUID_7 = 0x0198F3A0_7C00_7000_8000_000000000000


@dataclass(frozen=True, slots=True)
class Asked:
    """One command: which process asks it, by which of its tasks, as which of its commands."""

    process: int
    asker: int
    index: int

    @property
    def command_id(self) -> str:
        """The command's own id."""
        return self._id(0)

    def _id(self, number: int) -> str:
        return str(uuid.UUID(int=_UUID_7 | self.process << 40 | self.asker << 32 | self.index << 16 | number))

    @classmethod
    def of(cls, command_id: str) -> Self:
        """The command that has this id."""
        bits = uuid.UUID(command_id).int
        return cls(bits >> 40 & 0xFF, bits >> 32 & 0xFF, bits >> 16 & 0xFFFF)

    def request(self, files: int) -> CommandRequest:
        """The first command opens the package, every other one puts `files` files of one new content into it."""
        package_id = Asked(self.process, self.asker, 0)._id(1)
        command: CreatePackage | IngestFiles
        if self.index == 0:
            command = CreatePackage(package_id, f"package of {self}", "standard", {})
        else:
            put = [ingested(f"{self.index}/{number}", f"{self}".encode()) for number in range(files)]
            entries = tuple(file.entry for file in put)
            command = IngestFiles(package_id, entries, (put[0].stored,), OnExisting.REFUSE)
        return CommandRequest(self.command_id, command, "appender", None)


def events_of(asked: Asked) -> list[str]:
    """The ids of the events that a command writes, in order."""
    return [event_id_of(asked.command_id, index) for index in range(1 if asked.index == 0 else 2)]


class Point(StrEnum):
    """Where a process can die. The first four it dies at by its own hand, exactly there."""

    ASKING = "asking"
    COMMITTING = "committing"
    COMMITTED = "committed"
    ACKNOWLEDGED = "acknowledged"
    ANYWHERE = "anywhere"
    """Killed from outside, some time after it has acknowledged so many."""


@dataclass(frozen=True, slots=True)
class Doom:
    """Death when this point is reached for the `count`-th time."""

    point: Point
    count: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A command was answered: it is in the log with these sequences."""

    asked: Asked
    sequences: tuple[int, ...]
    repeated: bool


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A command was answered with an error that says that nothing was written."""

    asked: Asked
    error: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A command was answered with an error that says that it may be in the log."""

    asked: Asked


@dataclass(frozen=True, slots=True)
class Ripe:
    """The process may be killed from outside from now on, and waits for it when its work is done."""


type Report = Acknowledged | Unwritten | Unknown | Ripe


@dataclass(frozen=True, slots=True)
class Appender:
    """What one process is to do.

    Attributes:
        settings: which store.
        process: its number; a successor has its predecessor's.
        begin: for each asker, the command that it begins with.
        commands: how many commands each asker has.
        files: files a command.
        doom: when it dies, if it does.
    """

    settings: Settings
    process: int
    begin: tuple[int, ...]
    commands: int
    files: int
    doom: Doom | None


@asynccontextmanager
async def opened[T](opening: Callable[[], AbstractAsyncContextManager[T]]) -> AsyncGenerator[T]:
    """Open a store, again as often as its connection is cut over it."""
    async with AsyncExitStack() as stack:
        while True:
            try:
                store = await stack.enter_async_context(opening())
            except DatabaseUnavailable:
                continue
            break
        yield store


def append(appender: Appender, report: Callable[[Report], None]) -> None:
    """Be that process."""
    trio.run(_append, appender, report)


def append_the_last(settings: Settings) -> None:
    """Append the event that says that no more will come."""

    async def run() -> None:
        writers: list[ActorRef[WriterRole]] = []
        async with opened(lambda: open_store(settings, lambda actors: _take_writer(actors, writers))):
            await writers[-1].ask(Commit(Asked(LAST, 0, 0).request(0)))

    trio.run(run)


def _take_writer(actors: Actors, writers: list[ActorRef[WriterRole]]) -> Sequence[ActorSpec[Any]]:
    writers.append(actors.writer)
    return ()


class _Fate:
    """Counts how often each point was reached, and strikes."""

    def __init__(self, doom: Doom | None, report: Callable[[Report], None]) -> None:
        self._doom = doom
        self._report = report
        self._reached = dict.fromkeys(Point, 0)

    def reached(self, point: Point) -> None:
        self._reached[point] += 1
        if self._doom == Doom(point, self._reached[point]):
            os.kill(os.getpid(), signal.SIGKILL)
        if point is Point.ACKNOWLEDGED and self._doom == Doom(Point.ANYWHERE, self._reached[point]):
            self._report(Ripe())

    async def end(self) -> None:
        """Wait, in a process that another one will kill."""
        if self._doom is not None and self._doom.point is Point.ANYWHERE:
            await trio.sleep_forever()


def _die_at_commits(fate: _Fate) -> None:
    commit = AsyncTransaction.commit

    async def fateful(self: AsyncTransaction) -> None:
        fate.reached(Point.COMMITTING)
        await commit(self)
        fate.reached(Point.COMMITTED)

    AsyncTransaction.commit = fateful  # type: ignore[method-assign] # this process is here for nothing else


async def _append(appender: Appender, report: Callable[[Report], None]) -> None:
    fate = _Fate(appender.doom, report)
    _die_at_commits(fate)
    writers: list[ActorRef[WriterRole]] = []
    async with opened(lambda: open_store(appender.settings, lambda actors: _take_writer(actors, writers))):
        writer = writers[-1]

        async def ask_all(asker: int) -> None:
            for index in range(appender.begin[asker], appender.commands):
                await _ask(writer, Asked(appender.process, asker, index), appender.files, fate, report)

        async with trio.open_nursery() as nursery:
            for asker in range(ASKERS):
                nursery.start_soon(ask_all, asker)
        await fate.end()


async def _ask(
    writer: ActorRef[WriterRole], asked: Asked, files: int, fate: _Fate, report: Callable[[Report], None]
) -> None:
    """Ask until it is answered."""
    request = asked.request(files)
    while True:
        fate.reached(Point.ASKING)
        try:
            outcome: Committed = await writer.ask(Commit(request), timeout=300)
        except OutcomeUnknown:
            report(Unknown(asked))
        except DatabaseUnavailable as error:
            report(Unwritten(asked, str(error)))
        else:
            sequences = tuple(stored.sequence for stored in outcome.events)
            report(Acknowledged(asked, sequences, outcome.repeated))
            fate.reached(Point.ACKNOWLEDGED)
            return
