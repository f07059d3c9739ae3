"""Once all is calm: what was unknown can be found out, what was answered is answered again, what is spoilt repairs."""

from collections.abc import Iterable
from typing import Final

import trio

from artifactstore.probes import CRASHES_WITHIN_S
from artifactstore.refusals import WrongStorageRoot
from artifactstore_protocols.events import EventRefused
from simulation.calls import Call, Ending
from simulation.clients import Clients
from simulation.contents import CONTENT_OF
from simulation.judge import Judge, address_of
from simulation.process import Running
from simulation.restoring import collect_all
from simulation.workload import CreatePackage, IngestFile

__all__ = ["look_back"]

_HEALER: Final = "healer"


async def look_back(running: Running, clients: Clients, judge: Judge) -> None:
    """Hold a store in which nothing goes wrong any more to what happened before."""
    for call in [call for call in clients.calls if call.key is not None]:
        await _ask_again(running, call, clients, judge)
    judge.stored()
    await _verify(running, clients, judge)
    await _repair(running, map(str, judge.flagged()), clients, judge, _HEALER)
    judge.verified(await running.registry.verify(), exact=True)
    try:
        report = await running.registry.replay(check=True)
    except EventRefused as refused:
        judge.require(False, "the log breaks a rule:", refused)
    else:
        judge.require(report.identical, "a replay differs from the views")
    await running.registry.confirm_clock()
    await collect_all(running, judge)
    await trio.sleep(CRASHES_WITHIN_S)  # crashes that were meant are forgotten
    health = await running.registry.health(max_age_s=0)
    judge.require(health.healthy, "in the end it is not healthy:", health.reasons)
    judge.history(clients.calls)


async def _ask_again(running: Running, call: Call, clients: Clients, judge: Judge) -> None:
    first, before = call.answer, call.ending
    answer = await clients.attempt(running, call)
    match before:
        case Ending.UNKNOWN:
            judge.require(call.endings[-1] is not Ending.UNKNOWN, call.principal, "cannot be found out")
        case Ending.ANSWERED:
            judge.repeated(call, first, answer)
        case Ending.REFUSED:
            pass  # what stood in its way may be gone


async def _verify(running: Running, clients: Clients, judge: Judge) -> None:
    try:
        report = await running.registry.verify()
    except WrongStorageRoot:  # nearly every object is lost; it is not recorded, but every content comes again
        await _repair(running, map(address_of, CONTENT_OF), clients, judge, f"{_HEALER} of all")
        report = await running.registry.verify()
    judge.verified(report, exact=True)


async def _repair(running: Running, spoilt: Iterable[str], clients: Clients, judge: Judge, healer: str) -> None:
    addresses = set(spoilt)
    for content, held in enumerate(CONTENT_OF):
        if address_of(held) in addresses:
            create = Call(CreatePackage(0, keyed=False), f"{healer}/{content}/create")
            package = await clients.attempt(running, create)
            ingest = IngestFile(0, 0, content, 1, breaks_after=len(CONTENT_OF), replace=False, keyed=False)
            call = Call(ingest, f"{healer}/{content}", package_id=getattr(package, "package_id", ""))
            await clients.attempt(running, call)
            judge.require(call.ending is Ending.ANSWERED, "content", content, "cannot be repaired")
    judge.require(not judge.flagged(), "still flagged:", judge.flagged())
