"""Following a log on PostgreSQL that other processes write, over a line that breaks again and again."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

import racing_writers
from artifactstore import Registry, Settings, open_registry
from artifactstore.database.location import DatabaseLocation
from postgres_proxy import Proxy, proxied
from postgres_server import PostgresServer

WRITERS, EACH = 2, 20
ALL = WRITERS * EACH + 1
GUARD_S = 600


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


async def followed_by_a_command(url: str, objects: Path, seen: list[int]) -> None:
    """What `artifactstore events --follow` prints until it has all, when it is interrupted.

    If the test's time runs out, the command prints where each of its threads stands.
    """
    environment = os.environ | {"ARTIFACTSTORE_DATABASE_URL": url, "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": str(objects)}
    printed = b""
    async with trio.open_nursery() as nursery:
        options = ["-W", "error", "-X", "faulthandler", "-m", "artifactstore", "events", "--follow", "--json"]
        command: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                [sys.executable, *options],
                env=environment,
                stdout=subprocess.PIPE,
                check=False,
                deliver_cancel=abort,
            )
        )
        assert command.stdout is not None
        async for some in command.stdout:
            printed += some
            if printed.count(b"\n") == ALL:
                command.send_signal(signal.SIGINT)
    assert command.returncode == 130
    seen.extend(json.loads(line)["sequence"] for line in printed.splitlines())


async def abort(command: trio.Process) -> None:
    """End the command; faulthandler prints its threads first."""
    command.send_signal(signal.SIGABRT)


@pytest.mark.slow
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
                    nursery.start_soon(followed_by_a_command, url, objects, command)
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
