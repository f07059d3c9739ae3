"""The client for asyncio and for plain programs: the same answers, and an end in good order."""

import asyncio
from collections.abc import Callable
from itertools import islice

import pytest
import trio

from artifactstore.client import aio, blocking
from artifactstore.errors import BlocksEventLoop, PackageNotFound, StoreClosed, WrongEventLoop
from artifactstore_protocols.package_listing import EntryFilter
from integration.client.conftest import FILES
from integration.http.serving import GUARD_S, Service

pytestmark = pytest.mark.slow

WANTED = EntryFilter(path="bin/**")


async def by_asyncio(url: str, token: str) -> list[object]:
    async with aio.connect(url, token) as registry:
        await registry.check_connection()
        async with registry.get_file("nightly", "big") as chunks:
            content = b"".join([chunk async for chunk in chunks])
        async with registry.tail_events() as tail:
            events = [(await anext(tail)).sequence for _ in range(5)]
        with pytest.raises(PackageNotFound):
            await registry.get_package("nothing")
        found: list[object] = [
            await registry.get_package("nightly"),
            [each async for each in registry.list_packages()],
            [each async for each in registry.find(WANTED)],
            [each async for each in registry.list_tags()],
            [each async for each in registry.list_holds("nightly")],
            [each async for each in registry.history("nightly")],
            content,
            events,
        ]
    with pytest.raises(StoreClosed):
        await registry.get_package("nightly")
    return found


def by_threads(url: str, token: str) -> list[object]:
    with blocking.connect(url, token) as registry:
        registry.check_connection()
        with registry.get_file("nightly", "big") as chunks:
            content = b"".join(chunks)
        with registry.tail_events() as tail:
            events = [each.sequence for each in islice(tail, 5)]
        with pytest.raises(PackageNotFound):
            registry.get_package("nothing")
        found: list[object] = [
            registry.get_package("nightly"),
            list(registry.list_packages()),
            list(registry.find(WANTED)),
            list(registry.list_tags()),
            list(registry.list_holds("nightly")),
            list(registry.history("nightly")),
            content,
            events,
        ]
    with pytest.raises(StoreClosed):
        registry.get_package("nightly")
    return found


def by_asyncio_run(url: str, token: str) -> list[object]:
    return asyncio.run(by_asyncio(url, token))


@pytest.mark.parametrize("ask", [by_asyncio_run, by_threads])
async def test_a_face_gives_the_answers_of_the_store(service: Service, ask: Callable[[str, str], list[object]]) -> None:
    registry = service.registry
    secret = await registry.create_token("reader", scopes=("read", "admin"))
    with trio.fail_after(GUARD_S):
        found = await trio.to_thread.run_sync(ask, service.url, str(secret))
    assert found == [
        await registry.get_package("nightly"),
        [each async for each in registry.list_packages()],
        [each async for each in registry.find(WANTED)],
        [each async for each in registry.list_tags()],
        [each async for each in registry.list_holds("nightly")],
        [each async for each in registry.history("nightly")],
        FILES["big"],
        [1, 2, 3, 4, 5],
    ]


async def test_a_face_says_which_one_belongs_here() -> None:
    with pytest.raises(BlocksEventLoop), blocking.connect("http://127.0.0.1:1", "ast_x"):
        pass
    with pytest.raises(WrongEventLoop):
        async with aio.connect("http://127.0.0.1:1", "ast_x"):
            pass
