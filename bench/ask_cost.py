"""What an ask costs, beside a plain call and beside the least that two trio tasks need to exchange two values.

Run: `python bench/ask_cost.py [ROUNDS]`. The three are measured in turns in one process, several times over, and the
best of each is kept, so that the ratios hold on a machine that is busy with other things.
"""

import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSpec,
    Concurrent,
    Request,
    SupervisorSpec,
    handles,
    open_tree,
)

ROUNDS = 20_000
REPEATS = 7
TARGET_RATIO = 3.0


class BenchRole:
    """The role of the actor that is asked."""


@dataclass(frozen=True, slots=True)
class Echo(Request[int, BenchRole]):
    """Answered with its value, one at a time."""

    value: int


@dataclass(frozen=True, slots=True)
class EchoBeside(Request[int, BenchRole]):
    """As Echo, by a concurrent handler."""

    value: int


class EchoActor(Actor[BenchRole]):
    """Answers at once."""

    @handles(Echo)
    async def echo(self, message: Echo) -> int:
        """Serial."""
        return message.value

    @handles(EchoBeside, mode=Concurrent(4))
    async def echo_beside(self, message: EchoBeside) -> int:
        """Concurrent."""
        return message.value


async def plain(value: int) -> int:
    """What an ask replaces, when nobody needs an actor."""
    await trio.lowlevel.checkpoint()
    return value


async def seconds_each(rounds: int, step: Callable[[int], Awaitable[int]]) -> float:
    """Mean seconds of one step."""
    began = time.perf_counter()
    for value in range(rounds):
        if await step(value) != value:
            raise AssertionError("wrong answer")
    return (time.perf_counter() - began) / rounds


async def measure(rounds: int) -> dict[str, float]:
    """Best mean seconds of each way."""
    ref = ActorRef[BenchRole]("echo")
    spec = SupervisorSpec(name="bench", children=(ActorSpec(ref=ref, factory=EchoActor),))
    there_in, there_out = trio.open_memory_channel[int](1)
    back_in, back_out = trio.open_memory_channel[int](1)

    async def responder() -> None:
        async for value in there_out:
            await back_in.send(value)

    async def hop(value: int) -> int:
        await there_in.send(value)
        return await back_out.receive()

    async def ask(value: int) -> int:
        return await ref.ask(Echo(value))

    async def ask_beside(value: int) -> int:
        return await ref.ask(EchoBeside(value))

    ways = {"plain call": plain, "pair of channel hops": hop, "ask": ask, "ask, concurrent": ask_beside}
    found: dict[str, list[float]] = {name: [] for name in ways}
    async with open_tree(spec), trio.open_nursery() as nursery:
        nursery.start_soon(responder)
        for _ in range(REPEATS):
            for name, step in ways.items():
                found[name].append(await seconds_each(rounds, step))
        there_in.close()
    return {name: min(times) for name, times in found.items()} | {
        "spread of ask": statistics.pstdev(found["ask"]) / statistics.mean(found["ask"])
    }


def main() -> int:
    """Print the table; 1 when an ask costs more than the target."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    best = trio.run(measure, rounds)
    spread = best.pop("spread of ask")
    pair = best["pair of channel hops"]
    for name, seconds in best.items():
        print(f"{name:22} {seconds * 1e6:8.2f} µs  {seconds / pair:5.2f} x a pair of hops  {1 / seconds:10,.0f} /s")
    print(f"spread of the ask's repeats: {spread:.0%}")
    ratio = best["ask"] / pair
    print(f"an ask costs {ratio:.2f} x a pair of hops (target: at most {TARGET_RATIO:g} x)")
    return 0 if ratio <= TARGET_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
