"""What the documents import and do, as a caller's program would: both type checkers must accept it as it stands."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import assert_type

from artifactstore import Registry, Settings, aio, blocking, open_registry, run_registry
from artifactstore.aio import AsyncioRegistry
from artifactstore.blocking import BlockingRegistry
from artifactstore.errors import AmbiguousPackage, ArtifactStoreError, AskError, InvalidValue, PackageNotFound, Refusal
from artifactstore_protocols.events import StoredEvent
from artifactstore_protocols.records import FileRecord, HistoryEntry, IngestSummary, PackageRecord
from artifactstore_protocols.supervision import SupervisorSnapshot

__all__ = ["run_registry"]


async def in_trio(registry: Registry) -> None:
    """Trio's own."""
    assert_type(await registry.ingest_tree(Path("tree")), IngestSummary)
    async with registry.get_file("nightly", "f", offset=1) as chunks:
        assert_type(chunks, AsyncIterator[bytes])
    async with registry.tail_events(since=3) as events:
        assert_type([stored async for stored in events], list[StoredEvent])
    assert_type([entry async for entry in registry.history("nightly")], list[HistoryEntry])
    assert_type(registry.snapshot(), SupervisorSnapshot)


async def in_asyncio(registry: AsyncioRegistry) -> None:
    """The same for asyncio."""
    assert_type(await registry.ingest_tree(Path("tree"), metadata={"branch": "main"}), IngestSummary)
    async with registry.get_file("nightly", "f", offset=1) as chunks:
        assert_type(chunks, AsyncIterator[bytes])
    async with registry.tail_events(since=3) as events:
        assert_type([stored async for stored in events], list[StoredEvent])
    assert_type([entry async for entry in registry.history("nightly")], list[HistoryEntry])
    assert_type(await registry.snapshot(), SupervisorSnapshot)


def in_a_plain_program(registry: BlockingRegistry) -> None:
    """The same without an event loop."""
    assert_type(registry.ingest_tree(Path("tree"), metadata={"branch": "main"}), IngestSummary)
    assert_type(registry.ingest_file("nightly", "f", [b"chunk"]), FileRecord)
    with registry.get_file("nightly", "f", offset=1) as chunks:
        assert_type(chunks, Iterator[bytes])
    with registry.tail_events(since=3) as events:
        assert_type(list(events), list[StoredEvent])
    assert_type(list(registry.history("nightly")), list[HistoryEntry])
    assert_type(registry.snapshot(), SupervisorSnapshot)


async def opened() -> None:
    """Three ways to open a store."""
    settings = Settings(storage_local_root=Path("objects"))
    async with open_registry(settings, create=False) as registry:
        assert_type(registry, Registry)
    async with aio.open_registry(settings) as on_asyncio:
        assert_type(on_asyncio, AsyncioRegistry)
    with blocking.open_registry(settings) as plain:
        assert_type(plain, BlockingRegistry)


def refused(registry: BlockingRegistry) -> PackageRecord | None:
    """Errors have their facts as attributes."""
    try:
        return registry.get_package("nightly")
    except PackageNotFound as error:
        assert_type(error.package, str)
    except AmbiguousPackage as error:
        assert_type(error.package_ids, tuple[str, ...])
    except InvalidValue as error:
        assert_type(error.reason, str)
    except AskError as error:
        assert_type(error.may_have_taken_effect, bool)
    except (ArtifactStoreError, Refusal):
        raise
    return None
