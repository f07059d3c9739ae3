"""Processes that write to one database at once: they start together, and each commits some packages one by one.

Usage: python racing_writers.py URL PROCESSES PACKAGES    (prints the sequences that each process took, as JSON)
"""

import json
import multiprocessing
import sys
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

import trio

from artifactstore.database.database import Database
from artifactstore.database.location import DatabaseLocation
from artifactstore.database.store import SqlEventStore
from artifactstore.ids import new_id, now_us
from artifactstore_protocols.commands import CommandRequest, CreatePackage
from artifactstore_protocols.events import Committed


async def write(url: str, packages: int) -> list[int]:
    """Open the database, which may not be there yet, and commit one package a transaction."""
    store = SqlEventStore(Database(DatabaseLocation.parse(url)))
    await store.open()
    sequences: list[int] = []
    for i in range(packages):
        command = CreatePackage(new_id(), f"package {i}", "standard", {})
        request = CommandRequest(new_id(), command, "racer", None)
        [outcome] = await store.commit([request], now_us=now_us, new_id=new_id, files_per_package_max=1)
        assert isinstance(outcome, Committed), outcome
        sequences.append(outcome.sequence)
    await store.close()
    return sequences


def race(url: str, packages: int, start: Barrier, shares: "SimpleQueue[list[int]]") -> None:
    """What each process does."""
    start.wait()
    shares.put(trio.run(write, url, packages))


def main(url: str, processes: int, packages: int) -> None:
    """Run the race. What was imported once is forked, so that the start is all that they wait for."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(processes)
    shares: SimpleQueue[list[int]] = context.SimpleQueue()
    racers = [context.Process(target=race, args=(url, packages, start, shares)) for _ in range(processes)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    if any(racer.exitcode for racer in racers):
        raise SystemExit("a process failed")
    sys.stdout.write(json.dumps([shares.get() for _ in racers]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
