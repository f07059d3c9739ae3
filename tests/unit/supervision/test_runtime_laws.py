"""Laws of the runtime under any mix of messages, crashes, cancellations and orders, on any schedule.

Hypothesis draws what is sent and done and, through trio's registered random source, the order in which trio runs its
tasks; time is virtual. The oracle is what the handlers themselves have noted:

- every ask ends, in time, and exactly one of the things it may end with is true of it;
- an ask is started at most once, and never when its error said that it had no effect;
- a message that was told and accepted is handled to its end once, or a dead letter once, and never both;
- a caller that leaves has had its ask started at most once, and its tell not sent at all if it left before it was;
- when the tree has closed, nothing is left in any mailbox.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from artifactstore.supervision import (
    Actor,
    ActorCrashed,
    ActorRef,
    ActorSnapshot,
    ActorSpec,
    ActorStopped,
    AskTimeout,
    Batched,
    ChildBusy,
    ChildExists,
    Concurrent,
    DeadLetter,
    MailboxFull,
    MailboxLimits,
    OnCancel,
    Refusal,
    Request,
    StartFailed,
    Strategy,
    SupervisorNotRunning,
    SupervisorSpec,
    Tree,
    handles,
    open_tree,
)

from .probe import Boom, Refused

NAMES = ("a", "b", "c")


class JobRole:
    pass


class Result(StrEnum):
    REPLY = "reply"
    REFUSE = "refuse"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Job(Request[int, JobRole]):
    number: int
    duration_s: float
    result: Result


class SerialJob(Job):
    pass


class CommitJob(Job):
    pass


class ParallelJob(Job):
    pass


class BatchedJob(Job):
    pass


class Send(StrEnum):
    ASK = "ask"
    TELL = "tell"
    TRY_TELL = "try_tell"


class Order(StrEnum):
    RESTART = "restart"
    STOP = "stop"
    START = "start"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do to one actor, after a pause."""

    actor: str
    what: Send | Order
    kind: type[Job]
    duration_s: float
    result: Result
    timeout_s: float
    leaves_after_s: float
    pause_s: float


@dataclass
class World:
    began: Counter[int] = field(default_factory=Counter[int])
    done: Counter[int] = field(default_factory=Counter[int])
    asked: dict[int, object] = field(default_factory=dict[int, object])
    told: set[int] = field(default_factory=set[int])
    left: set[int] = field(default_factory=set[int])


class Worker(Actor[JobRole]):
    def __init__(self, world: World) -> None:
        self.world = world

    async def work(self, job: Job) -> int:
        self.world.began[job.number] += 1
        await trio.sleep(job.duration_s)
        if job.result is Result.CRASH:
            raise Boom(str(job.number))
        if job.result is Result.REFUSE:
            raise Refused
        self.world.done[job.number] += 1
        return job.number

    @handles(SerialJob)
    async def serial(self, message: SerialJob) -> int:
        return await self.work(message)

    @handles(CommitJob, on_cancel=OnCancel.COMPLETE)
    async def commit(self, message: CommitJob) -> int:
        return await self.work(message)

    @handles(ParallelJob, mode=Concurrent(2))
    async def parallel(self, message: ParallelJob) -> int:
        return await self.work(message)

    @handles(BatchedJob, mode=Batched(3, 1000), on_cancel=OnCancel.COMPLETE)
    async def batched(self, messages: Sequence[BatchedJob]) -> Sequence[int | Refusal]:
        for message in messages:
            self.world.began[message.number] += 1
        await trio.sleep(max(message.duration_s for message in messages))
        if any(message.result is Result.CRASH for message in messages):
            raise Boom("batch")
        replies: list[int | Refusal] = []
        for message in messages:
            if message.result is Result.REFUSE:
                replies.append(Refused())
            else:
                self.world.done[message.number] += 1
                replies.append(message.number)
        return replies


steps = st.builds(
    Step,
    actor=st.sampled_from(NAMES),
    what=st.sampled_from([*Send, *Send, *Send, *Order]),
    kind=st.sampled_from([SerialJob, CommitJob, ParallelJob, BatchedJob]),
    duration_s=st.sampled_from([0.0, 0.125, 3.0, 30.0]),
    result=st.sampled_from([Result.REPLY, Result.REPLY, Result.REFUSE, Result.CRASH]),
    timeout_s=st.sampled_from([0.0, 0.125, 5.0, 100.0]),
    leaves_after_s=st.sampled_from([math.inf, math.inf, math.inf, 0.0, 0.0625, 4.0]),
    pause_s=st.sampled_from([0.0, 0.0, 0.0, 0.0625, 1.0]),
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.random_module(), st.sampled_from(Strategy), st.integers(1, 4), st.lists(steps, max_size=25))
def test_whatever_happens_the_laws_hold(
    schedule: object, strategy: Strategy, room: int, script: Sequence[Step]
) -> None:
    world = World()
    main = partial(run, world, strategy, room, script)
    actors, letters = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    for number, outcome in world.asked.items():
        assert world.began[number] <= 1
        match outcome:
            case int():
                assert (outcome, world.done[number]) == (number, 1)
            case Refused() | ActorCrashed():
                assert (world.began[number], world.done[number]) == (1, 0)
            case ActorStopped() | AskTimeout():
                assert world.began[number] == outcome.may_have_taken_effect
            case _:
                assert number in world.left, f"{number} was never answered"
    buried = Counter(letter.message.number for letter in letters if isinstance(letter.message, Job))
    for number in world.told:
        assert world.done[number] + buried[number] == 1
    for number in world.left - world.asked.keys():
        assert world.began[number] + buried[number] == 0
    assert [actor.mailbox.depth for actor in actors] == [0] * len(NAMES)
    assert [actor.mailbox.size_bytes for actor in actors] == [0] * len(NAMES)


async def run(
    world: World, strategy: Strategy, room: int, script: Sequence[Step]
) -> tuple[list[ActorSnapshot], Sequence[DeadLetter]]:
    """Play the script; what the actors look like when the tree has closed, and its dead letters."""
    refs = {name: ActorRef[JobRole](name) for name in NAMES}
    specs = [
        ActorSpec(
            ref=ref,
            factory=lambda: Worker(world),
            mailbox=MailboxLimits(messages=room),
            shutdown_timeout_s=10,
            max_deliveries=2,
        )
        for ref in refs.values()
    ]
    spec = SupervisorSpec(name="root", children=tuple(specs), strategy=strategy, intensity=None)
    async with trio.open_nursery() as nursery, open_tree(spec, seed=0) as tree:
        for number, step in enumerate(script):
            if isinstance(step.what, Order):
                nursery.start_soon(order, tree, step.what, f"root/{step.actor}")
            else:
                job = step.kind(number, step.duration_s, step.result)
                nursery.start_soon(send_or_leave, world, refs[step.actor], job, step)
            await trio.sleep(step.pause_s)
    actors = [actor for actor in tree.snapshot().children if isinstance(actor, ActorSnapshot)]
    return actors, tree.dead_letters


async def send_or_leave(world: World, ref: ActorRef[JobRole], job: Job, step: Step) -> None:
    with trio.move_on_after(step.leaves_after_s) as scope:
        await send(world, ref, job, step)
    if scope.cancelled_caught:
        world.left.add(job.number)


async def send(world: World, ref: ActorRef[JobRole], job: Job, step: Step) -> None:
    if step.what is Send.ASK:
        world.asked[job.number] = None
        began = trio.current_time()
        try:
            world.asked[job.number] = await ref.ask(job, timeout=step.timeout_s)
        except Refusal as error:
            world.asked[job.number] = error
        late_s = trio.current_time() - began - step.timeout_s
        assert late_s < 1e-6, "rounding of the backoff apart, an ask ends in time"
        return
    try:
        if step.what is Send.TELL:
            await ref.tell(job)
        else:
            ref.try_tell(job)
    except (ActorStopped, MailboxFull):
        return
    world.told.add(job.number)


async def order(tree: Tree, what: Order, path: str) -> None:
    try:
        if what is Order.RESTART:
            await tree.restart_child(path)
        elif what is Order.STOP:
            await tree.stop_child(path)
        else:
            await tree.start_stopped_child(path)
    except (ChildBusy, ChildExists, StartFailed, SupervisorNotRunning):
        pass  # whether an order fits is not what this is about
