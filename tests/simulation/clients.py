"""The clients of a simulation: what each of them asks for, in order, and asks again while it does not know."""

from typing import Final

import trio

from artifactstore_protocols.records import PackageRecord
from simulation.calls import Answer, Call, Ending, Performer
from simulation.judge import Judge
from simulation.process import Process, Running
from simulation.workload import Client, CreatePackage, Operation
from simulation.world import World

__all__ = ["Clients"]

_ATTEMPTS_MAX: Final = 4
_AGAIN_S: Final = 0.5
_ANSWER_WITHIN_S: Final = 600.0


class Clients:
    """All clients of a workload, and what became of their calls.

    Attributes:
        calls: every call that was made.
    """

    def __init__(self, world: World, judge: Judge, perform: Performer) -> None:
        self.calls: list[Call] = []
        self._world = world
        self._judge = judge
        self._perform = perform
        self._packages: dict[int, str] = {}

    async def run(self, number: int, client: Client, process: Process) -> None:
        """Do all that one client is to do."""
        async with trio.open_nursery() as at_once:
            for index, operation in enumerate(client.operations):
                principal = f"client-{number}/{index}"
                if client.together:
                    at_once.start_soon(self._do, process, operation, principal)
                else:
                    await self._do(process, operation, principal)

    async def _do(self, process: Process, operation: Operation, principal: str) -> None:
        call = Call(operation, principal, key=principal if _is_keyed(operation) else None)
        package = getattr(operation, "package", None)
        if isinstance(package, int) and not isinstance(operation, CreatePackage):
            if package not in self._packages:
                await self._do(process, CreatePackage(package, keyed=True), f"{principal}/create")
            if package not in self._packages:
                return  # nobody could create it
            call.package_id = self._packages[package]
        self.calls.append(call)
        for attempt in range(_ATTEMPTS_MAX):
            answer = await self.attempt(await process.up(), call)
            if isinstance(answer, PackageRecord) and isinstance(package, int):
                self._packages[package] = answer.package_id
            if call.endings[-1] is not Ending.UNKNOWN or not call.can_be_repeated:
                return
            await trio.sleep(_AGAIN_S * (attempt + 1))

    async def attempt(self, running: Running, call: Call) -> Answer:
        """Make a call once; its ending is noted with the call. None where there is no answer."""
        call.began_at = self._judge.head()
        self._world.trace.note(call.principal, type(call.operation).__name__, "begins")
        answer: Answer = None
        failure: Exception | None = None
        with running.life.call() as scope, trio.move_on_after(_ANSWER_WITHIN_S) as patience:
            try:
                answer = await self._perform(running.registry, call)
            except Exception as error:  # the judge says whether it may come
                failure = error
        self._judge.require(not patience.cancelled_caught, call.principal, "was not answered in", _ANSWER_WITHIN_S, "s")
        if scope.cancelled_caught or patience.cancelled_caught or not running.life.alive:
            call.endings.append(Ending.UNKNOWN)
            answer = None
        elif failure is not None:
            call.endings.append(self._judge.failed(call, failure))
        else:
            call.endings.append(Ending.ANSWERED)
            call.answer = answer
            self._judge.answered(call, answer)
        self._world.trace.note(call.principal, call.endings[-1], type(failure or answer).__name__)
        return answer


def _is_keyed(operation: Operation) -> bool:
    return bool(getattr(operation, "keyed", False))
