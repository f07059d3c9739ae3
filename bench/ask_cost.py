"""What an ask costs, beside the least that two trio tasks need to exchange two values, a plain call, and pykka.

Run: `python bench/ask_cost.py [BLOCKS]`. All ways are measured in one process, in turns, in blocks of a few
milliseconds; each block is compared with the pairs of channel hops right before and after it. The median of those
ratios holds on a machine that is busy with other things, where the times themselves do not.
"""

import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import cast, override

import pykka
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

BLOCKS = 60
STEPS = 512
AT_ONCE = 64
RATIO_MAX = 3.0


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
        """Handle a message, one at a time."""
        return message.value

    @handles(EchoBeside, mode=Concurrent(AT_ONCE))
    async def echo_beside(self, message: EchoBeside) -> int:
        """Concurrent."""
        return message.value


class EchoThread(pykka.ThreadingActor):
    """Answers at once, in a thread of its own."""

    @override
    def on_receive(self, message: object) -> object:
        """Receive everything that is sent."""
        return message


type Step = Callable[[int], Awaitable[int]]


async def plain(value: int) -> int:
    """Return a value after a checkpoint: what an ask replaces, when nobody needs an actor."""
    await trio.lowlevel.checkpoint()
    return value


async def steps(step: Step, count: int) -> None:
    """One after the other."""
    for value in range(count):
        if await step(value) != value:
            raise AssertionError("wrong answer")


async def seconds_each(step: Step, at_once: int) -> float:
    """Mean seconds of a step, in one block that so many tasks share."""
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(steps, step, STEPS // at_once)
    return (time.perf_counter() - began) / STEPS


async def compare(hop: Step, way: Step, at_once: int) -> tuple[float, float]:
    """Seconds of a step, and how many pairs of hops it takes: those right before and after it."""
    before = await seconds_each(hop, at_once)
    seconds = await seconds_each(way, at_once)
    return seconds, seconds / statistics.mean((before, await seconds_each(hop, at_once)))


async def measure(blocks: int) -> bool:
    """Print the table; whether asks keep to the limit."""
    ref = ActorRef[BenchRole]("echo")
    spec = SupervisorSpec(name="bench", children=(ActorSpec(ref=ref, factory=EchoActor),))
    there_in, there_out = trio.open_memory_channel[tuple[int, trio.MemorySendChannel[int]]](AT_ONCE)
    back: list[tuple[trio.MemorySendChannel[int], trio.MemoryReceiveChannel[int]]] = [
        trio.open_memory_channel[int](1) for _ in range(AT_ONCE)
    ]
    thread = EchoThread.start()

    async def responder() -> None:
        async for value, answer in there_out:
            await answer.send(value)

    async def hop(value: int) -> int:
        answer_in, answer_out = back.pop()
        await there_in.send((value, answer_in))
        answer = await answer_out.receive()
        back.append((answer_in, answer_out))
        return answer

    async def ask(value: int) -> int:
        return await ref.ask(Echo(value))

    async def ask_beside(value: int) -> int:
        return await ref.ask(EchoBeside(value))

    async def ask_pykka(value: int) -> int:
        return cast("int", thread.ask(value))

    ways: dict[str, tuple[Step, int, float | None]] = {
        "plain call": (plain, 1, None),
        "pair of hops": (hop, 1, None),
        "pykka": (ask_pykka, 1, None),
        "ask": (ask, 1, RATIO_MAX),
        "ask, concurrent": (ask_beside, 1, RATIO_MAX),
        f"{AT_ONCE} pairs of hops": (hop, AT_ONCE, None),
        f"{AT_ONCE} asks": (ask, AT_ONCE, RATIO_MAX),
        f"{AT_ONCE} asks, concurrent": (ask_beside, AT_ONCE, RATIO_MAX),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    async with open_tree(spec), trio.open_nursery() as nursery:
        nursery.start_soon(responder)
        for _ in range(blocks):
            for name, (step, at_once, _limit) in ways.items():
                found[name].append(await compare(hop, step, at_once))
        there_in.close()
    thread.stop()
    kept = True
    for name, (_step, _at_once, limit) in ways.items():
        best_us = min(seconds for seconds, _ratio in found[name]) * 1e6
        low, middle, high = statistics.quantiles((ratio for _seconds, ratio in found[name]), n=4)
        print(
            f"{name:20} {best_us:8.2f} µs at best   {middle:5.2f} x a pair of hops (half of all {low:.2f}-{high:.2f})"
        )
        kept = kept and (limit is None or middle <= limit)
    print(f"an ask may cost {RATIO_MAX:g} x a pair of hops: {'kept' if kept else 'NOT KEPT'}")
    return kept


def main() -> int:
    """Return the exit code: 1 when an ask costs more than it may."""
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else BLOCKS
    return 0 if trio.run(partial(measure, blocks)) else 1


if __name__ == "__main__":
    sys.exit(main())
