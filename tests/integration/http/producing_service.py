"""A service with a producer inside: it prints where it serves, then a line of JSON for all that was acknowledged to it.

A projection actor that finds a file `kill` beside the store crashes at each message. It ends when its input does.
"""

import json
import os
import sys
from collections.abc import AsyncGenerator

import trio

from artifactstore import Registry, Settings, probes
from artifactstore.http.listening import Listening
from artifactstore.http.process import http_service
from artifactstore.http.server import BoundAddresses, HttpRole
from artifactstore.open import open_store
from artifactstore.projection import ProjectionActor
from artifactstore.supervision import ActorRef, Refusal
from artifactstore_protocols.messages import HeadMoved
from http_viewer import identify

PAUSE_S = 0.02


def say(fact: object) -> None:
    print(json.dumps(fact), flush=True)  # noqa: T201 - its parent reads it


async def content(number: int) -> AsyncGenerator[bytes]:
    yield b"%d " % number * 100


async def produce(registry: Registry) -> None:
    """Make packages of one file, one after another; what is refused is asked for again with the same keys."""
    number = 0
    while True:
        name = f"p{number}"
        try:
            package = await registry.create_package(name, idempotency_key=f"create {name}")
            file = await registry.ingest_file(
                package.package_id, "f", content(number), idempotency_key=f"add to {name}"
            )
        except Refusal:
            await trio.sleep(PAUSE_S)  # as a client would
            continue
        say({"package": package.package_id, "sequence": file.sequence, "content_address": file.content_address})
        number += 1
        await trio.sleep(PAUSE_S)


async def main(kill: str) -> None:
    http = ActorRef[HttpRole]("http")
    running: list[Registry] = []
    head_moved = ProjectionActor.head_moved

    async def moved_or_killed(actor: ProjectionActor, message: HeadMoved) -> None:
        if os.path.exists(kill):  # noqa: ASYNC240, PTH110 - it takes no time
            raise RuntimeError("killed")
        await head_moved(actor, message)

    ProjectionActor.head_moved = moved_or_killed  # type: ignore[method-assign]
    services = http_service(http, Listening("127.0.0.1:0"), lambda: running[0] if running else None, identify=identify)
    async with open_store(Settings.load(), services) as registry, trio.open_nursery() as nursery:
        running.append(registry)
        say(await http.ask(BoundAddresses()))
        nursery.start_soon(produce, registry)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    probes.CRASHES_WITHIN_S = 1.0  # as short as can be, for a test that waits until it is over
    trio.run(main, sys.argv[1])
