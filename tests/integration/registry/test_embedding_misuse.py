"""A registry called from where it cannot be: refused by a typed error that says where to go, with nothing done."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio

from artifactstore import Registry, Settings, aio, blocking, open_registry
from artifactstore.errors import BlocksEventLoop, StoreClosed, WrongEventLoop
from artifactstore.host_loop import loop_here
from integration.registry.samples import store_threads


async def _open_and_use(settings: Settings) -> None:
    async with open_registry(settings):
        raise AssertionError("opened")


async def _open_aio(settings: Settings) -> None:
    async with aio.open_registry(settings):
        raise AssertionError("opened")


async def _open_blocking(settings: Settings) -> None:
    with blocking.open_registry(settings):
        raise AssertionError("opened")


def _in_trio(work: Callable[[Settings], Awaitable[None]], settings: Settings) -> None:
    trio.run(work, settings)


def _in_asyncio(work: Callable[[Settings], Awaitable[None]], settings: Settings) -> None:
    async def main() -> None:
        await work(settings)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "work", "wanted", "found", "advice"),
    [
        (_in_asyncio, _open_and_use, "trio", "asyncio", "artifactstore.aio there"),
        (_in_trio, _open_aio, "asyncio", "trio", "artifactstore there"),
    ],
)
def test_opening_in_the_wrong_loop_names_the_right_module(
    settings: Settings,
    host: Callable[..., None],
    work: Callable[[Settings], Awaitable[None]],
    wanted: str,
    found: str,
    advice: str,
) -> None:
    with pytest.raises(WrongEventLoop, match=advice) as refused:
        host(work, settings)
    assert (refused.value.wanted, refused.value.found) == (wanted, found)
    assert not settings.storage_local_root.exists()
    assert store_threads() == []


@pytest.mark.parametrize(("host", "loop"), [(_in_asyncio, "asyncio"), (_in_trio, "trio")])
def test_opening_a_blocking_registry_in_a_loop_is_refused(
    settings: Settings, host: Callable[..., None], loop: str
) -> None:
    with pytest.raises(BlocksEventLoop, match="worker thread") as refused:
        host(_open_blocking, settings)
    assert refused.value.loop == loop
    assert not settings.storage_local_root.exists()


def test_a_coroutine_that_no_loop_runs_is_told_so(settings: Settings) -> None:
    opening = open_registry(settings)
    with pytest.raises(WrongEventLoop, match=r"artifactstore\.blocking"):
        opening.__aenter__().send(None)


async def test_a_registry_refuses_other_runs_and_other_loops(registry: Registry) -> None:
    package = (await registry.create_package("p")).package_id

    async def use() -> None:
        await registry.finalize_package(package)

    async def use_from_asyncio() -> None:
        await registry.get_package(package)

    with pytest.raises(WrongEventLoop, match="another run of trio"):
        await trio.to_thread.run_sync(trio.run, use)
    with pytest.raises(WrongEventLoop, match=r"artifactstore\.aio"):
        await trio.to_thread.run_sync(lambda: asyncio.run(use_from_asyncio()))
    with pytest.raises(WrongEventLoop, match=r"trio\.from_thread\.run"):
        await trio.to_thread.run_sync(lambda: registry.list_files(package).__await__().send(None))
    assert (await registry.get_package(package)).status == "open"


async def test_a_worker_thread_comes_by_the_way_that_the_error_names(registry: Registry) -> None:
    def work() -> str:
        package = trio.from_thread.run(registry.create_package, "from a thread")
        assert trio.from_thread.run_sync(registry.snapshot).name == "root"
        return package.package_id

    package_id = await trio.to_thread.run_sync(work)
    assert (await registry.get_package(package_id)).name == "from a thread"

    token, made = trio.lowlevel.current_trio_token(), trio.Event()
    names: list[str] = []

    def foreign() -> None:  # a thread that trio did not start, such as a callback of some library
        names.append(trio.from_thread.run(registry.get_package, package_id, trio_token=token).name)
        trio.from_thread.run_sync(made.set, trio_token=token)

    thread = threading.Thread(target=foreign)
    thread.start()
    await made.wait()
    thread.join()
    assert names == ["from a thread"]


def test_a_blocking_registry_serves_worker_threads_but_not_the_loop_itself(settings: Settings) -> None:
    async def by_asyncio(registry: blocking.BlockingRegistry) -> None:
        with pytest.raises(BlocksEventLoop) as refused:
            registry.create_package("never")
        assert refused.value.loop == "asyncio"
        with pytest.raises(BlocksEventLoop):
            next(registry.list_packages())
        await asyncio.to_thread(registry.create_package, "by asyncio's thread")

    async def by_trio(registry: blocking.BlockingRegistry) -> None:
        with pytest.raises(BlocksEventLoop) as refused:
            registry.create_package("never")
        assert refused.value.loop == "trio"
        await trio.to_thread.run_sync(registry.create_package, "by trio's thread")

    with blocking.open_registry(settings) as registry:
        asyncio.run(by_asyncio(registry))
        trio.run(by_trio, registry)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(registry.create_package, "by a pool").result()
        names = [package.name for package in registry.list_packages(reverse=True)]
    assert names == ["by asyncio's thread", "by trio's thread", "by a pool"]


def test_an_asyncio_registry_serves_any_asyncio_loop_and_no_other(settings: Settings) -> None:
    async def main() -> None:
        async with aio.open_registry(settings) as registry:

            async def elsewhere() -> str:
                return (await registry.create_package("from another loop")).name

            assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == "from another loop"
            loop = asyncio.get_running_loop()

            def without_a_loop() -> str:
                return asyncio.run_coroutine_threadsafe(registry.get_package("from another loop"), loop).result().name

            assert await asyncio.to_thread(without_a_loop) == "from another loop"

            async def by_trio() -> None:
                await registry.create_package("never")

            with pytest.raises(WrongEventLoop, match="needs asyncio and was called from trio"):
                await asyncio.to_thread(trio.run, by_trio)
            assert [package.name async for package in registry.list_packages()] == ["from another loop"]
        with pytest.raises(StoreClosed):
            await registry.create_package("too late")

    asyncio.run(main())


def test_a_loop_that_is_a_guest_of_another_is_told_from_it() -> None:
    """trio in guest mode shares its thread with asyncio; each is known by whose task it is."""
    seen: dict[str, str] = {}

    async def guest() -> None:
        seen["trio's task"] = loop_here()
        await trio.lowlevel.checkpoint()

    async def main() -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda _outcome: done.set(),
        )
        seen["asyncio's task"] = loop_here()
        await done.wait()

    asyncio.run(main())
    assert seen == {"trio's task": "trio", "asyncio's task": "asyncio"}
    assert loop_here() == "no event loop"


_FORKED = """
import os, sys
from pathlib import Path
from artifactstore import Settings
from artifactstore.blocking import open_registry
from artifactstore.errors import WrongProcess

with open_registry(Settings(f"sqlite:///{sys.argv[1]}/log.db", Path(sys.argv[1], "objects"))) as registry:
    registry.create_package("before")
    packages = registry.list_packages()
    next(packages)
    child = os.fork()
    if child == 0:
        for use in (lambda: registry.create_package("never"), lambda: next(packages)):
            try:
                use()
            except WrongProcess as refused:
                assert refused.opened_in == os.getppid()
            else:
                raise AssertionError("went through")
        packages.close()
    else:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [package.name for package in packages] == []
print("left", flush=True)
"""


@pytest.mark.slow
def test_a_forked_process_is_told_to_open_its_own(settings: Settings) -> None:
    """And it leaves the block without waiting for a thread that it does not have."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORKED, str(settings.storage_local_root.parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
    )
    assert (ran.returncode, ran.stderr, ran.stdout.split()) == (0, "", ["left", "left"])
