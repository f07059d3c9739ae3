"""What the tests of the registry share: small trees and streams, and what must be true of every store at rest."""

import sqlite3
import threading
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from artifactstore import Registry, Settings, open_registry
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.supervision import ActorSnapshot
from stored_objects import Row, object_in, objects_in

CHUNK = 8 << 20
"""What the store reads and writes at a time; longer content takes another way through it."""


def settings_in(directory: Path) -> Settings:
    """A store on SQLite and local files, all below one directory."""
    return Settings(
        database_url=f"sqlite:///{directory / 'artifactstore.db'}", storage_local_root=directory / "objects"
    )


def plant(root: Path, files: Mapping[str, bytes]) -> Path:
    """Make files below a directory."""
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def plant_tree(root: Path, files: Iterable[tuple[str, bytes, bool]]) -> None:
    """Make files, some of them executable."""
    for path, content, executable in files:
        plant(root, {path: content})
        (root / path).chmod(0o755 if executable else 0o644)


async def stream_of(*chunks: bytes) -> AsyncGenerator[bytes]:
    """These bytes."""
    for chunk in chunks:
        yield chunk


async def add(registry: Registry, package_id: str, path: str, content: bytes) -> None:
    """Put a file into a package."""
    await registry.ingest_file(package_id, path, stream_of(content))


async def content_of(registry: Registry, package_id: str, path: str) -> bytes:
    """A file of a package."""
    async with registry.get_file(package_id, path) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def whole_log(registry: Registry) -> list[StoredEvent]:
    """Every event."""
    log: list[StoredEvent] = []
    while page := await registry.read_events(len(log)):
        log += page
    return log


async def paths_in(registry: Registry, package_id: str) -> list[str]:
    """The paths of a package, in its own order."""
    return [file.path for file in await registry.list_files(package_id)]


def make_schema_too_new(settings: Settings) -> None:
    """A database that a later release has migrated."""
    trio.run(_make, settings)
    by_hand(settings, "UPDATE alembic_version SET version_num = '9999'")


def by_hand(settings: Settings, statement: str, *parameters: object) -> None:
    """Change the database behind everybody's back."""
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as database, database:
        database.execute(statement, parameters)


async def _make(settings: Settings) -> None:
    async with open_registry(settings):
        pass


def store_threads() -> list[str]:
    """The threads that stores have started; trio keeps helpers of its own, which end when they are idle."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("artifactstore")]


def temp_files(settings: Settings) -> list[str]:
    """What is being written in the storage root, beside the locks of the writers."""
    scratch = settings.storage_local_root / "tmp"
    return [path.name for path in scratch.glob("*") if path.suffix != ".lock"] if scratch.is_dir() else []


def objects(settings: Settings) -> dict[str, bytes]:
    """Everything that is stored, by its hex digest."""
    return objects_in(settings.storage_local_root)


def object_file(settings: Settings, content_address: str) -> Path | Row:
    """Where an object is."""
    return object_in(settings.storage_local_root, content_address)


def actors(registry: Registry) -> list[ActorSnapshot]:
    """Every actor as it is now."""
    return [entry for entry in registry.snapshot().walk() if isinstance(entry, ActorSnapshot)]


def actor_named(registry: Registry, name: str) -> ActorSnapshot:
    """One actor as it is now."""
    return next(actor for actor in actors(registry) if actor.name == name)


class Boom(Exception):
    """What actors crash of in these tests."""


def crash(monkeypatch: pytest.MonkeyPatch, actor: type[object], handler: str, *, times: int = 1) -> None:
    """Make a handler of an actor's class fail, so many times, at its next message."""
    original = getattr(actor, handler)
    left = list(range(times))

    async def fail(*arguments: object) -> object:
        if left:
            left.pop()
            raise Boom
        return await original(*arguments)

    monkeypatch.setattr(actor, handler, fail)


def unfinished(registry: Registry) -> dict[str, list[str]]:
    """What actors still do or hold: handlers, tasks and queued messages, by actor; empty when all is quiet."""
    left: dict[str, list[str]] = {}
    for actor in actors(registry):
        held = [work.message for work in actor.work] + list(actor.tasks)
        held += ["queued"] * (actor.mailbox.depth + actor.mailbox.senders_waiting)
        if held:
            left[actor.name] = held
    return left


async def quiet(registry: Registry) -> None:
    """Wait until every actor is done with what it was asked; a task or message that is left behind makes this hang."""
    while unfinished(registry):
        await trio.testing.wait_all_tasks_blocked(0.001)


async def check_sound(registry: Registry) -> list[StoredEvent]:
    """A log without a gap or a duplicate, and views that replay says are identical. Returns the log."""
    log = await whole_log(registry)
    assert [stored.sequence for stored in log] == list(range(1, len(log) + 1))
    assert len({stored.event.event_id for stored in log}) == len(log)
    report = await registry.replay(check=True)
    assert report.identical, report
    assert report.sequence == len(log)
    return log
