"""Following a log on PostgreSQL that other processes write, over a line that breaks again and again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import trio

import racing_writers
from artifactstore import Registry, Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from postgres_proxy import Proxy, proxied
from postgres_server import PostgresServer

WRITERS, EACH = 2, 20
ALL = WRITERS * EACH
GUARD_S = 120


async def follow(registry: Registry, since: int, seen: list[int], *, breaking: Proxy | None = None) -> None:
    """Read to the end; break the line at every seventh event."""
    async with registry.tail_events(since) as tail:
        async for stored in tail:
            seen.append(stored.sequence)
            if stored.sequence == ALL:
                return
            if breaking is not None and stored.sequence % 7 == 0:
                await breaking.break_all()


async def dawdle(registry: Registry, seen: list[int], others: list[list[int]]) -> None:
    """Take the first event, and the rest when everybody else has all of it."""
    async with registry.tail_events() as tail:
        seen.append((await anext(tail)).sequence)
        while any(not other or other[-1] != ALL for other in others):
            await trio.lowlevel.checkpoint()
        async for stored in tail:
            seen.append(stored.sequence)
            if stored.sequence == ALL:
                return


def followed_by_a_command(url: str, objects: Path) -> list[int]:
    """What `artifactstore events --follow` prints until it has all, when it is interrupted."""
    environment = os.environ | {"ARTIFACTSTORE_DATABASE_URL": url, "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": str(objects)}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "artifactstore", "events", "--follow", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            assert command.stdout is not None
            seen = [json.loads(command.stdout.readline())["sequence"] for _ in range(ALL)]
            command.send_signal(signal.SIGINT)
            rest, _ = command.communicate()
        finally:
            command.kill()
    assert (command.returncode, rest) == (130, "")
    return seen


async def test_tails_lose_nothing_and_repeat_nothing(
    postgres_server: PostgresServer, postgres_location: DatabaseLocation, tmp_path: Path
) -> None:
    """Some begin before the first event; one is slow, one starts in the middle, one is a command."""
    url = postgres_location.url.render_as_string(hide_password=False)
    objects = tmp_path / "objects"
    early, middle, slow, direct, command = [list[int]() for _ in range(5)]
    async with proxied(postgres_server.socket_directory) as proxy:
        far = f"postgresql://postgres@127.0.0.1:{proxy.port}/{postgres_location.url.database}"
        async with open_registry(Settings(far, objects)) as registry, open_registry(Settings(url, objects)) as near:
            with trio.fail_after(GUARD_S):
                async with trio.open_nursery() as nursery:

                    async def run_command() -> None:
                        command.extend(await trio.to_thread.run_sync(followed_by_a_command, url, objects))

                    nursery.start_soon(run_command)
                    nursery.start_soon(lambda: follow(registry, 0, early, breaking=proxy))
                    nursery.start_soon(follow, registry, 5, middle)
                    nursery.start_soon(follow, near, 0, direct)
                    nursery.start_soon(dawdle, registry, slow, [early, middle, direct])
                    script = str(Path(racing_writers.__file__))
                    await trio.run_process(
                        [sys.executable, "-W", "error", script, url, str(WRITERS), str(EACH)], capture_stdout=True
                    )
    everything = list(range(1, ALL + 1))
    assert early == slow == direct == command == everything
    assert middle == everything[5:]
