"""A store inside a trio program: as a block, as a child of a nursery that is there, and more than one at once."""

import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from artifactstore import Registry, Settings, open_registry, run_registry
from artifactstore.database.errors import DatabaseUnavailable, SchemaTooNew
from artifactstore.errors import StoreClosed
from artifactstore.storage import StorageActor
from artifactstore.supervision import StartFailed
from artifactstore_protocols.errors import ArtifactStoreError, InvalidValue
from artifactstore_protocols.storage_errors import StorageError
from integration.registry.samples import (
    add,
    check_sound,
    content_of,
    make_schema_too_new,
    plant,
    settings_in,
    store_threads,
)


async def test_as_a_child_of_a_nursery_that_is_there(settings: Settings) -> None:
    """The way a supervisor of the host's own starts it, and stops it by cancelling."""
    async with trio.open_nursery() as nursery:
        registry: Registry = await nursery.start(run_registry, settings)
        package = (await registry.create_package("p")).package_id
        await add(registry, package, "f", b"content")
        nursery.cancel_scope.cancel()
    assert store_threads() == []
    with pytest.raises(StoreClosed):
        await registry.get_package(package)
    async with open_registry(settings) as again:
        assert await content_of(again, package, "f") == b"content"


async def test_a_child_that_cannot_open_says_why_where_it_is_started(settings: Settings) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(InvalidValue):
            await nursery.start(run_registry, replace(settings, database_url="sqlite://"))


async def test_cancelling_the_block_keeps_what_was_accepted_and_stops_every_thread(settings: Settings) -> None:
    """The commit that is under way when the program is cancelled is completed."""
    async with trio.open_nursery() as nursery:

        async def program() -> None:
            async with open_registry(settings) as registry, trio.open_nursery() as calls:
                for number in range(5):
                    calls.start_soon(registry.create_package, f"p{number}")
                await registry.create_package("last")
                nursery.cancel_scope.cancel()
                await trio.sleep_forever()

        nursery.start_soon(program)
    assert store_threads() == []
    async with open_registry(settings) as registry:
        names = {package.name async for package in registry.list_packages()}
        assert "last" in names
        await check_sound(registry)


async def test_two_stores_in_one_program(tmp_path: Path) -> None:
    async with (
        open_registry(settings_in(tmp_path / "one")) as one,
        open_registry(settings_in(tmp_path / "two")) as two,
        trio.open_nursery() as nursery,
    ):
        for number in range(5):
            nursery.start_soon(one.create_package, f"in one {number}")
            nursery.start_soon(two.create_package, f"in two {number}")
    async with open_registry(settings_in(tmp_path / "one")) as one:
        assert {package.name async for package in one.list_packages()} == {f"in one {number}" for number in range(5)}
        await check_sound(one)


async def test_two_registries_on_the_same_store_see_each_other(settings: Settings) -> None:
    async with open_registry(settings) as one, open_registry(settings) as two:
        package = (await one.create_package("p")).package_id
        await add(two, package, "f", b"content")
        assert await content_of(one, package, "f") == b"content"
        await check_sound(one)


async def test_leaving_the_block_finishes_what_was_accepted(settings: Settings) -> None:
    """The tree drains: commands that are queued when it stops are committed, not dropped."""
    async with trio.open_nursery() as nursery, open_registry(settings) as registry:
        for number in range(10):
            nursery.start_soon(registry.create_package, f"p{number}")
        await trio.testing.wait_all_tasks_blocked()
    async with open_registry(settings) as registry:
        assert len(await registry.read_events()) == 11


async def test_a_registry_refuses_after_the_block(settings: Settings) -> None:
    async with open_registry(settings) as registry:
        package = (await registry.create_package("p")).package_id
    with pytest.raises(StoreClosed):
        await registry.create_package("too late")
    with pytest.raises(StoreClosed):
        await registry.get_package(package)
    with pytest.raises(StoreClosed):
        await anext(registry.list_packages())


async def test_an_error_of_the_block_passes_through_unchanged(settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_registry(settings):
            _ = 1 // 0
    inner = StartFailed("somebody else's", ValueError())
    with pytest.raises(StartFailed) as passed:
        async with open_registry(settings):
            raise inner
    assert passed.value is inner
    assert store_threads() == []


async def test_a_failed_opening_raises_its_cause(settings: Settings, tmp_path: Path) -> None:
    plant(tmp_path, {"a file": b"", "no database.db": b"this is no database, and long enough to tell" * 40})
    no_database, below_a_file = (f"sqlite:///{tmp_path / name}" for name in ("no database.db", "a file/below.db"))
    attempts: list[tuple[Settings, type[ArtifactStoreError]]] = [
        (replace(settings, database_url=no_database), DatabaseUnavailable),
        (replace(settings, database_url=below_a_file), DatabaseUnavailable),
        (replace(settings, storage_local_root=tmp_path / "a file"), StorageError),
    ]
    for impossible, refusal in attempts:
        with pytest.raises(refusal):
            async with open_registry(impossible):
                raise AssertionError("opened")
        assert store_threads() == []


async def test_an_actor_that_cannot_start_for_no_known_reason_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_actor: StorageActor) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(StorageActor, "on_start", fail)
    with pytest.raises(StartFailed) as failed:
        async with open_registry(settings):
            raise AssertionError("opened")
    assert failed.value.path == "root/core/storage"
    assert isinstance(failed.value.cause, ZeroDivisionError)
    assert store_threads() == []


async def test_settings_come_from_the_environment_unless_given(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACTSTORE_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("ARTIFACTSTORE_STORAGE_LOCAL_ROOT", str(settings.storage_local_root))
    async with open_registry() as registry:
        await registry.create_package("p")
    async with open_registry(settings) as registry:
        assert [package.name async for package in registry.list_packages()] == ["p"]


async def test_a_store_may_feed_another(tmp_path: Path) -> None:
    async with (
        open_registry(settings_in(tmp_path / "one")) as one,
        open_registry(settings_in(tmp_path / "two")) as two,
    ):
        source = (await one.create_package("p")).package_id
        await add(one, source, "f", b"content")
        target = (await two.create_package("p")).package_id

        async def chunks() -> AsyncGenerator[bytes]:
            async with one.get_file(source, "f") as stream:
                async for chunk in stream:
                    yield chunk

        async with aclosing(chunks()) as stream:
            await two.ingest_file(target, "f", stream)
        assert await content_of(two, target, "f") == b"content"


_HOSTS = """
import asyncio, logging, signal, sys, threading, warnings
from pathlib import Path

def surroundings():
    # What a library could change for its host without being asked.
    return (
        asyncio.get_event_loop_policy(), asyncio._get_running_loop(), asyncio.new_event_loop.__module__,
        sys.get_asyncgen_hooks(), sys.excepthook, threading.excepthook, sys.unraisablehook,
        signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1),
        threading.active_count(), tuple(logging.getLogger().handlers), logging.getLogger().level,
        logging.getLogger("artifactstore").handlers, logging.getLogger("artifactstore").level,
    )

before = surroundings()
import artifactstore, artifactstore.aio, artifactstore.blocking, artifactstore.open
assert surroundings() == before, "importing changed its host"

import trio
directory = Path(sys.argv[1])

def settings(name):
    return artifactstore.Settings(
        database_url=f"sqlite:///{directory / name}.db", storage_local_root=directory / name)

async def by_trio():
    async with artifactstore.open_registry(settings("trio")) as registry:
        await registry.create_package("p")

async def by_asyncio():
    async with artifactstore.aio.open_registry(settings("asyncio")) as registry:
        await registry.create_package("p")

trio.run(by_trio)
asyncio.run(by_asyncio())
with artifactstore.blocking.open_registry(settings("blocking")) as registry:
    registry.create_package("p")
for helper in threading.enumerate():
    if helper.name.startswith("Trio thread"):
        before = (*before[:10], before[10] + 1, *before[11:])
assert surroundings()[3:] == before[3:], "using it changed its host"
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"quart", "quart_trio", "hypercorn", "typer", "rich"}))
"""


@pytest.mark.slow
def test_no_host_is_changed_and_none_loads_a_server(tmp_path: Path) -> None:
    """In a process of its own, where nothing is loaded yet."""
    command = [sys.executable, "-W", "error", "-c", _HOSTS, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip() == ""


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, artifactstore; print(*sorted({'trio', 'asyncio', 'sqlalchemy', 'cbor2'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


def test_a_schema_of_a_later_release_is_refused(settings: Settings) -> None:
    make_schema_too_new(settings)

    async def main() -> None:
        with pytest.raises(SchemaTooNew) as refused:
            async with open_registry(settings):
                raise AssertionError("opened")
        assert refused.value.found == "9999"

    trio.run(main)
