"""`artifactstore ingest` in processes that die at steps that were drawn for them, each on a store of its own.

Usage: python -m integration.processes.dying DIRECTORY TREE SEED DEATHS

A step is a call by which something may get to a disk, or either side of a COMMIT. The first process runs to its end, to
count the steps; each of the others dies by its own hand before one step, drawn from its share of the way. The store of
each is in `DIRECTORY/<step>`. Prints how many steps there were, and those that were fatal.
"""

import importlib
import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path

from artifactstore.backends.small_file import SmallFile
from artifactstore.cli.app import run
from artifactstore.database.asyncio_core import AsyncTransaction

_CALLS = ("open", "write", "fchmod", "fsync", "replace", "mkdir", "unlink", "ftruncate")


class _Steps:
    """Counts, and ends the process before the fatal step."""

    def __init__(self, fatal: int | None) -> None:
        self.count = 0
        self._fatal = fatal

    def step(self) -> None:
        self.count += 1
        if self.count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def _before[**P, T](self, call: Callable[P, T]) -> Callable[P, T]:
        def stepping(*arguments: P.args, **options: P.kwargs) -> T:
            self.step()
            return call(*arguments, **options)

        return stepping

    def watch(self) -> None:
        for name in _CALLS:
            setattr(os, name, self._before(getattr(os, name)))
        commit = AsyncTransaction.commit

        async def stepping_commit(transaction: AsyncTransaction) -> None:
            self.step()
            await commit(transaction)
            self.step()

        setattr(AsyncTransaction, "commit", stepping_commit)  # noqa: B010
        writing = SmallFile.writing

        @contextmanager
        def stepping_rows(file: SmallFile, operation: str) -> Generator[sqlite3.Connection]:
            self.step()
            with writing(file, operation) as connection:
                yield connection
                self.step()
            self.step()

        setattr(SmallFile, "writing", stepping_rows)  # noqa: B010


def _ingest(store: Path, tree: Path, fatal: int | None) -> int:
    """In a process of its own. Returns the number of steps, or 0 where it died as it was to."""
    store.mkdir()
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.chdir(store)
        os.environ |= {
            "ARTIFACTSTORE_DATABASE_URL": f"sqlite:///{store}/store/log.db",
            "ARTIFACTSTORE_STORAGE_LOCAL_ROOT": f"{store}/store/objects",
        }
        write = os.write
        steps = _Steps(fatal)
        steps.watch()
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # noqa: PTH123
            code = run(["ingest", str(tree), "--idempotency-key", "nightly"])
        write(send, str(steps.count).encode())
        os._exit(code)
    os.close(send)
    with os.fdopen(receive) as counted:
        count = int(counted.read() or 0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != (0 if fatal is None else -signal.SIGKILL):
        raise SystemExit(f"the process that was to die at {fatal} ended with {code}")
    return count


def main(directory: Path, tree: Path, seed: int, deaths: int) -> None:
    for module in ("artifactstore.open", "alembic.command", "aiosqlite"):
        importlib.import_module(module)  # once, and not in each of the processes
    total = _ingest(directory / "0", tree, None)
    draws = random.Random(seed)  # noqa: S311
    bounds = [1 + total * number // deaths for number in range(deaths + 1)]
    fatal = [draws.randrange(*pair) for pair in pairwise(bounds)]
    for step in fatal:
        _ingest(directory / str(step), tree, step)
    sys.stdout.write(json.dumps([total, fatal]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
