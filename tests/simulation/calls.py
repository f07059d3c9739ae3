"""One call that a client makes, through all its attempts, and what became of each."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import assert_never

import trio

from artifactstore.registry import Registry
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.records import (
    DirectoryIngest,
    FileRecord,
    FinalizedPackage,
    HealthReport,
    IngestSummary,
    MetadataSchema,
    PackageRecord,
    ReplayReport,
    VerifyReport,
)
from simulation.contents import CONTENT_OF, PATH_OF, file_of, tree_at
from simulation.ending_calls import Kept, keep_or_end
from simulation.workload import (
    Collect,
    CreatePackage,
    DeletePackage,
    Expire,
    Extend,
    Finalize,
    GetFile,
    IngestDirectory,
    IngestFile,
    IngestTree,
    LookAround,
    MoveClock,
    Operation,
    PlaceHold,
    RegisterSchema,
    ReleaseHold,
    Replay,
    Retain,
    Tail,
    Verify,
)
from simulation.world import World

__all__ = ["Answer", "Call", "Ending", "Performer", "StreamBroke"]

_TAIL_S = 2.0


class StreamBroke(Exception):
    """A client's own stream failed while it was read; the client meets its own error again."""


class Ending(StrEnum):
    """What an attempt came to."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """With an error that says that it had no effect."""
    UNKNOWN = "unknown"
    """With an error that says that it may have had one, or the process died, or the caller left."""


type Answer = (
    PackageRecord
    | FileRecord
    | DirectoryIngest
    | IngestSummary
    | FinalizedPackage
    | MetadataSchema
    | VerifyReport
    | ReplayReport
    | HealthReport
    | tuple[FileRecord, bytes]
    | list[StoredEvent]
    | Kept
    | None
)
"""What the registry answers; None where there is no answer."""


@dataclass(slots=True)
class Call:
    """A call.

    Attributes:
        operation: what is asked.
        principal: who asks, as the log records it; no two calls share it.
        key: idempotency key, if it has one.
        package_id: of the package that it is about, if it is about one.
        endings: what each attempt came to.
        answer: the last one.
        began_at: head of the log when the last attempt began.
    """

    operation: Operation
    principal: str
    key: str | None = None
    package_id: str = ""
    endings: list[Ending] = field(default_factory=list[Ending])
    answer: Answer = None
    began_at: int = 0

    @property
    def ending(self) -> Ending:
        """What it came to in all: the last attempt's ending, but no refusal undoes that an earlier one is unknown."""
        if self.endings[-1] is Ending.REFUSED and Ending.UNKNOWN in self.endings:
            return Ending.UNKNOWN
        return self.endings[-1]

    @property
    def can_be_repeated(self) -> bool:
        """Whether asking again is safe while the outcome is unknown."""
        return self.key is not None or isinstance(
            self.operation, Collect | DeletePackage | Expire | Finalize | IngestDirectory
        )


class Performer:
    """Makes calls of a registry.

    Args:
        world: for the pauses within streams.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, registry: Registry, call: Call) -> Answer:  # noqa: C901, PLR0911, PLR0912 - one for each operation
        """Make one attempt; returns what the registry answers, and raises what it raises."""
        principal, key, package_id = call.principal, call.key, call.package_id
        match call.operation:
            case CreatePackage():
                return await registry.create_package(principal, principal=principal, idempotency_key=key)
            case IngestFile():
                return await self._ingest(registry, call, call.operation)
            case IngestDirectory(tree=tree, replace=replace):
                return await registry.ingest_directory(package_id, tree_at(tree), replace=replace, principal=principal)
            case IngestTree(tree=tree):
                return await registry.ingest_tree(
                    tree_at(tree), name=principal, principal=principal, idempotency_key=key
                )
            case Finalize():
                return await registry.finalize_package(package_id, principal=principal)
            case GetFile(path=path):
                return await _get(registry, package_id, PATH_OF[path])
            case RegisterSchema():
                return await registry.register_metadata_schema(
                    "report", {"title": principal}, principal=principal, idempotency_key=key
                )
            case Tail(count=count):
                return await _tail(registry, count)
            case Verify():
                return await registry.verify(principal=principal)
            case Replay(check=check):
                return await registry.replay(check=check)
            case LookAround():
                return await _look_around(registry)
            case (
                DeletePackage() | PlaceHold() | ReleaseHold() | Retain() | Extend() | Expire() | Collect() | MoveClock()
            ):
                return await keep_or_end(
                    registry, call.operation, package_id, self._world, principal=principal, key=key
                )
            case _:
                assert_never(call.operation)

    async def _ingest(self, registry: Registry, call: Call, file: IngestFile) -> FileRecord:
        async def put(source: Path | AsyncGenerator[bytes]) -> FileRecord:
            return await registry.ingest_file(
                call.package_id,
                PATH_OF[file.path],
                source,
                replace=file.replace,
                principal=call.principal,
                idempotency_key=call.key,
            )

        if file.chunks == 0:
            return await put(file_of(file.content))
        async with aclosing(self._stream(CONTENT_OF[file.content], file)) as source:
            return await put(source)

    async def _stream(self, content: bytes, file: IngestFile) -> AsyncGenerator[bytes]:
        size = len(content) // file.chunks + 1
        for number, start in enumerate(range(0, len(content), size)):
            await self._world.pause()
            if number == file.breaks_after:
                raise StreamBroke
            yield content[start : start + size]


async def _get(registry: Registry, package_id: str, path: str) -> tuple[FileRecord, bytes]:
    record = await registry.get_file_record(package_id, path)
    async with registry.get_file(package_id, path) as stream:
        return record, b"".join([chunk async for chunk in stream])


async def _tail(registry: Registry, count: int) -> list[StoredEvent]:
    seen: list[StoredEvent] = []
    with trio.move_on_after(_TAIL_S):
        async with registry.tail_events() as tail:
            async for stored in tail:
                seen.append(stored)
                if len(seen) == count:
                    break
    return seen


async def _look_around(registry: Registry) -> Answer:
    async with aclosing(registry.list_packages()) as packages:
        async for record in packages:
            await registry.list_files(record.package_id)
    return await registry.health()
