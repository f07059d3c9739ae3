"""A process that ingests, deletes and collects until it is killed, and says what it has done.

Arguments: a directory, a number that no other run has. It prints `kept ID` for a package that it keeps, and `step` for
each message that a collection sends.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from artifactstore import open_registry
from artifactstore.supervision import ActorRef
from integration.registry.samples import plant, settings_in


async def main(directory: Path, run: str) -> None:
    """Work until the end."""
    asked: Callable[..., Awaitable[Any]] = vars(ActorRef)["ask"]

    async def told(self: ActorRef[Any], message: Any, **options: Any) -> Any:  # noqa: ANN401 - as `ActorRef.ask`
        answer = await asked(self, message, **options)
        if self.name in {"storage", "event-writer"}:
            sys.stdout.write("step\n")
            sys.stdout.flush()
        return answer

    ActorRef.ask = told  # type: ignore[method-assign]
    async with open_registry(settings_in(directory / "store")) as registry:
        turn = 0
        while True:
            turn += 1
            files = {"same": b"same" * 30_000, "small": b"small", f"own-{run}-{turn}": os.urandom(100_000)}
            tree = plant(directory / f"tree-{run}-{turn}", files)
            package = (await registry.ingest_tree(tree, name=run, files_cache=False)).package_id
            if turn % 3 == 0:
                sys.stdout.write(f"kept {package}\n")
                sys.stdout.flush()
            else:
                await registry.delete_package(package, reason="a test", before_expiry=True)
            await registry.collect_garbage(grace_s=0.0, orphan_age_s=0.0)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
