"""A store inside an asyncio program: awaited, streamed into, cancelled, closed; the host's loop stays the host's."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from artifactstore import Settings
from artifactstore.aio import AsyncioRegistry, open_registry
from artifactstore.database.errors import SchemaTooNew
from artifactstore.errors import NotFinalized
from artifactstore.registry import StoreClosed
from artifactstore_protocols.packages import PackageNotFound, PathTaken
from artifactstore_protocols.records import IngestProgress
from integration.registry.samples import make_schema_too_new, objects, plant, settings_in, store_threads, temp_files


def _run(main: Coroutine[Any, Any, None]) -> None:
    """With asyncio's own checks on, such as for tasks whose errors nobody hears."""
    with asyncio.Runner(debug=True) as runner:
        complaints: list[dict[str, Any]] = []
        runner.get_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        runner.run(main)
    assert complaints == []
    assert store_threads() == []


async def chunks_of(*chunks: bytes) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        await asyncio.sleep(0)  # only asyncio can run this
        yield chunk


def size_of(file: Path) -> int:
    return file.stat().st_size


class Stuck:
    """A stream that is asked for a chunk and never gives one."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.in_use = False

    def __aiter__(self) -> "Stuck":
        return self

    async def __anext__(self) -> bytes:
        self.in_use = True
        self.asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.in_use = False
        raise AssertionError("woken")


@pytest.mark.slow
def test_the_whole_way(settings: Settings, tree: Path) -> None:
    plant(tree, {"a.txt": b"hello", "sub/b.txt": b"hello"})

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with open_registry(settings) as registry:
            progress: list[IngestProgress] = []
            summary = await registry.ingest_tree(tree, name="tree", progress=progress.append)
            assert (summary.files, summary.bytes, summary.deduplicated_bytes) == (2, 10, 5)
            assert [counts.files for counts in progress] == [0, 2]
            package = await registry.create_package("streamed")
            record = await registry.ingest_file(
                package.package_id, "c.txt", chunks_of(b"by ", b"asyncio"), expected_size=10
            )
            assert record.size_bytes == 10
            async with registry.get_file("streamed", "c.txt") as chunks:
                assert b"".join([chunk async for chunk in chunks]) == b"by asyncio"
            async with registry.get_file("streamed", "c.txt", offset=3, length=4) as part:
                assert [chunk async for chunk in part] == [b"asyn"]
            assert [found.name async for found in registry.list_packages()] == ["streamed", "tree"]
            assert [entry.sequence async for entry in registry.history(package.package_id)] == [6, 8]
            assert (await registry.finalize_package(package.package_id)).files == 1
            assert (await registry.verify()).objects == 2
            file = tree.with_name("log")
            assert (await registry.export_events(file)).events == 10
            assert len(b"".join([chunk async for chunk in registry.exported_events()])) == size_of(file)
            assert (await registry.import_events(file)).written == 0
            assert (await registry.backup(tree.with_name("kept"))).new_objects == 2
            assert (await registry.restore(tree.with_name("kept"))).new_objects == 0
            assert (await registry.replay(check=True)).identical
            assert (await registry.health()).healthy
            assert (await registry.snapshot()).actor("root/core/ingest").starts == 1
        assert asyncio.get_running_loop() is loop

    _run(main())


def test_errors_arrive_as_they_were_raised(settings: Settings) -> None:
    failure = ConnectionResetError("the peer went away")

    async def broken() -> AsyncGenerator[bytes]:
        yield b"some"
        raise failure

    async def interrupted() -> AsyncGenerator[bytes]:
        yield b"some"
        raise asyncio.CancelledError

    async def main() -> None:
        async with open_registry(settings) as registry:
            package = (await registry.create_package("p")).package_id
            with pytest.raises(PackageNotFound) as refused:
                await registry.get_package("nobody")
            assert refused.value.package == "nobody"
            with pytest.raises(NotFinalized):
                await registry.get_manifest_bytes(package)
            with pytest.raises(PackageNotFound):
                await registry.get_file("nobody", "f").__aenter__()
            with pytest.raises(ConnectionResetError) as raised:
                await registry.ingest_file(package, "f", broken())
            assert raised.value is failure
            with pytest.raises(asyncio.CancelledError):
                await registry.ingest_file(package, "f", interrupted())
            assert await registry.list_files(package) == []
        assert objects(settings) == {}

    _run(main())


def test_a_generator_is_closed_by_the_end_of_its_ingest(settings: Settings) -> None:
    async def main() -> None:
        async with open_registry(settings) as registry:
            package = (await registry.create_package("p")).package_id
            source = chunks_of(b"1", b"2")
            with pytest.raises(PackageNotFound):
                await registry.ingest_file("nobody", "f", source)
            with pytest.raises(StopAsyncIteration):
                await anext(source)
            await registry.ingest_file(package, "f", chunks_of(b"1"))

    _run(main())


def test_a_path_is_ingested_without_the_loop(settings: Settings, tmp_path: Path) -> None:
    plant(tmp_path, {"source": b"content"})

    async def main() -> None:
        async with open_registry(settings) as registry:
            package = (await registry.create_package("p")).package_id
            await registry.ingest_file(package, "f", tmp_path / "source")
            with pytest.raises(PathTaken):
                await registry.ingest_file(package, "f", tmp_path / "source")

    _run(main())


def test_cancelling_the_await_withdraws_the_call_and_ends_with_it(settings: Settings) -> None:
    """When the cancelled task continues, its stream is not in use and nothing is half written."""

    async def main() -> None:
        async with open_registry(settings) as registry:
            package = (await registry.create_package("p")).package_id
            source = Stuck()
            ingest = asyncio.create_task(registry.ingest_file(package, "f", source))
            await source.asked.wait()
            ingest.cancel()
            with pytest.raises(asyncio.CancelledError):
                await ingest
            assert not source.in_use
            assert await registry.list_files(package) == []
            await registry.ingest_file(package, "f", chunks_of(b"again"))
        assert temp_files(settings) == []

    _run(main())


def test_a_second_cancellation_does_not_cut_the_end_of_a_call_short(settings: Settings) -> None:
    """The stream puts things in order in its own time; until then the await has not ended."""

    async def main() -> None:
        asked, tidying, tidy = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def orderly() -> AsyncGenerator[bytes]:
            asked.set()
            try:
                await asyncio.get_running_loop().create_future()
                yield b""
            finally:
                tidying.set()
                await tidy.wait()

        async with open_registry(settings) as registry:
            package = (await registry.create_package("p")).package_id
            ingest = asyncio.create_task(registry.ingest_file(package, "f", orderly()))
            await asked.wait()
            ingest.cancel()
            await tidying.wait()
            ingest.cancel()
            await asyncio.sleep(0)
            assert not ingest.done()
            tidy.set()
            with pytest.raises(asyncio.CancelledError):
                await ingest
            assert await registry.list_files(package) == []

    _run(main())


def test_a_task_that_is_cancelled_before_its_call_began_leaves_nothing(settings: Settings) -> None:
    async def main() -> None:
        async with open_registry(settings) as registry:
            creating = asyncio.create_task(registry.create_package("never"))
            await asyncio.sleep(0)  # the call is on its way
            creating.cancel()
            with pytest.raises(asyncio.CancelledError):
                await creating
            known = [package.name async for package in registry.list_packages()]
            assert known in ([], ["never"]), "whole or not at all"

    _run(main())


def test_a_timeout_over_a_tail_ends_it(settings: Settings) -> None:
    async def main() -> None:
        async with open_registry(settings) as registry:
            await registry.create_package("p")
            seen: list[int] = []
            waiting = asyncio.Event()

            async def watch() -> None:
                async with registry.tail_events() as tail:
                    async for stored in tail:
                        seen.append(stored.sequence)
                        waiting.set()

            watching = asyncio.create_task(watch())
            await waiting.wait()
            watching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await watching
            assert seen[:1] == [1]

    _run(main())


def test_a_tail_that_is_closed_early_goes_no_further(settings: Settings) -> None:
    async def main() -> None:
        async with open_registry(settings) as registry:
            await registry.create_package("one")
            async with registry.tail_events(1) as tail:
                assert (await anext(tail)).sequence == 2
                following = asyncio.ensure_future(anext(tail))
                await registry.create_package("two")
                assert (await following).sequence == 3
            with pytest.raises(StopAsyncIteration):
                await anext(tail)
            async with registry.tail_events():
                pass

    _run(main())


def test_closing_the_store_breaks_off_tails_but_not_calls(settings: Settings) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        asked = asyncio.Event()

        async def gated() -> AsyncGenerator[bytes]:
            asked.set()
            await gate.wait()
            yield b"late"

        async def watch(registry: AsyncioRegistry) -> None:
            async with registry.tail_events(2) as tail:
                async for _stored in tail:
                    raise AssertionError("nothing follows")

        async with open_registry(settings) as registry:
            package = (await registry.create_package("p")).package_id
            leaving = AsyncExitStack()
            idle = await leaving.enter_async_context(registry.tail_events())
            assert (await anext(idle)).sequence == 1
            watching = asyncio.create_task(watch(registry))
            ingest = asyncio.create_task(registry.ingest_file(package, "f", gated()))
            await asked.wait()
            asyncio.get_running_loop().call_soon(gate.set)
        assert (await ingest).size_bytes == 4
        with pytest.raises(StoreClosed):
            await watching
        await leaving.aclose()  # harmless: the store's end has ended it
        with pytest.raises(StoreClosed):
            await registry.get_package(package)
        with pytest.raises(StoreClosed):
            await anext(registry.list_packages())

    _run(main())


def test_a_failed_opening_raises_its_cause_and_leaves_no_thread(settings: Settings) -> None:
    make_schema_too_new(settings)

    async def main() -> None:
        with pytest.raises(SchemaTooNew):
            async with open_registry(settings):
                raise AssertionError("opened")

    _run(main())


@pytest.mark.parametrize("ticks", range(4))
def test_an_opening_that_is_cancelled_leaves_no_thread(settings: Settings, ticks: int) -> None:
    """Whether the store's thread has begun by then or not."""

    async def main() -> None:
        async def use() -> None:
            async with open_registry(settings):
                raise AssertionError("opened")

        opening = asyncio.create_task(use())
        for _ in range(ticks):
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert store_threads() == []

    _run(main())


def test_an_error_of_the_block_passes_through(settings: Settings) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with open_registry(settings):
                _ = 1 // 0

    _run(main())


def test_two_stores_in_one_loop(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            open_registry(settings_in(tmp_path / "one")) as one,
            open_registry(settings_in(tmp_path / "two")) as two,
        ):
            await asyncio.gather(one.create_package("in one"), two.create_package("in two"))
            assert [package.name async for package in one.list_packages()] == ["in one"]
            assert [package.name async for package in two.list_packages()] == ["in two"]

    _run(main())


def test_many_tasks_at_once(settings: Settings) -> None:
    async def main() -> None:
        async with open_registry(settings) as registry:

            async def produce(number: int) -> str:
                package = (await registry.create_package(f"p{number}")).package_id
                await registry.ingest_file(package, "f", chunks_of(b"%d" % number))
                return (await registry.finalize_package(package)).manifest_digest

            assert len(set(await asyncio.gather(*(produce(number) for number in range(20))))) == 20
            assert len(await registry.read_events()) == 81

    _run(main())


def test_the_host_has_no_more_threads_than_before(settings: Settings) -> None:
    before = threading.active_count()

    async def main() -> None:
        async with open_registry(settings) as registry:
            await registry.create_package("p")

    _run(main())
    helpers = [thread for thread in threading.enumerate() if thread.name.startswith("Trio thread")]
    assert threading.active_count() - len(helpers) <= before, "trio keeps its idle helpers for some seconds"
