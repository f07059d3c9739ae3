"""A harness that runs one actor in its own supervision tree, with probes as its collaborators.

    storage, writer = Probe(StorageActor, "storage"), Probe(EventWriter, "event-writer")
    async with open_actor("ingest", lambda: IngestActor(store, storage.ref, writer.ref, …), storage, writer) as harness:
        …

The real runtime runs the actor, so mailboxes, restarts and replies behave as in a store. The harness can make the actor
fail at a chosen step.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import trio
from trio.testing import MockClock

from artifactstore.supervision import (
    Actor,
    ActorRef,
    ActorSnapshot,
    ActorSpec,
    Backoff,
    CrashReport,
    DeadLetter,
    DeadLetterReason,
    MailboxFull,
    MailboxLimits,
    Message,
    Report,
    SupervisorSpec,
    Tree,
    open_tree,
)
from artifactstore.testing.probe import InjectedCrash, Probe

__all__ = ["Harness", "open_actor"]

_ROOT = "test"


class Harness[Role]:
    """The actor under test, with methods to observe it and to make it fail.

    Attributes:
        ref: the address of the actor.
        tree: the tree that the actor runs in.
        reports: the reports of the runtime so far.
    """

    def __init__(self, ref: ActorRef[Role]) -> None:
        self.ref = ref
        self.reports: list[Report] = []
        self.tree: Tree
        self._crashes: set[tuple[str, int]] = set()
        self._steps: Counter[str] = Counter()
        self._known: set[str] = set()
        self._may_go_on = trio.Event()
        self._may_go_on.set()

    @property
    def snapshot(self) -> ActorSnapshot:
        """The actor's current state, starts, mailbox and handlers in flight."""
        return self.tree.snapshot().actor(f"{_ROOT}/{self.ref.name}")

    @property
    def crashes(self) -> list[CrashReport]:
        """The crash reports of this actor."""
        path = f"{_ROOT}/{self.ref.name}"
        return [report for report in self.reports if isinstance(report, CrashReport) and report.path == path]

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The latest messages that were sent with `tell` and not handled, oldest first."""
        return self.tree.dead_letters

    @property
    def dead_letter_counts(self) -> Mapping[DeadLetterReason, int]:
        """The number of dead letters so far, by reason."""
        return self.tree.dead_letter_counts

    def crash_at(self, step: str, occurrence: int = 1) -> None:
        """Make the actor fail when it reaches a step for the n-th time from now.

        Args:
            step: `on_start`, `on_stop`, `before M` or `after M`, where M is the name of a message type. At `after M`,
                the handler has done its work, but the sender has no reply yet.
            occurrence: which time, counted from 1. A batch counts as one time.

        Raises:
            ValueError: the actor has no such step.
        """
        if step not in self._known:
            raise ValueError(f"{self.ref.name} has no step {step!r}; it has {', '.join(sorted(self._known))}")
        self._crashes.add((step, self._steps[step] + occurrence))

    @contextmanager
    def held(self) -> Generator[None]:
        """Make every handler wait, before it begins, until the block ends."""
        self._may_go_on = trio.Event()
        try:
            yield
        finally:
            self._may_go_on.set()

    def fill(self, message: Message[Role]) -> int:
        """Tell a message until the mailbox is full, and return the count. The actor cannot run meanwhile."""
        for count in range(self.snapshot.mailbox.limits.messages + 1):
            try:
                self.ref.try_tell(message)
            except MailboxFull:
                return count
        raise AssertionError("the mailbox takes more than its limit")

    async def advance(self, seconds: float) -> None:
        """Advance virtual time, and wait until the tasks that are due have run.

        Raises:
            TypeError: the clock of the trio run is not a `trio.testing.MockClock`.
        """
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, MockClock):
            raise TypeError("time can be advanced only under trio.testing.MockClock: use the fixture mock_clock")
        await trio.testing.wait_all_tasks_blocked()
        clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()

    def prepared(self, actor: Actor[Role]) -> Actor[Role]:
        """Wrap the methods of a new incarnation with the steps; `open_actor` calls this."""
        for name in ("on_start", "on_stop"):
            self._known.add(name)
            setattr(actor, name, self._stepping(name, getattr(actor, name)))
        for handler in type(actor).handlers.values():
            self._known |= {f"{when} {handler.message.__name__}" for when in ("before", "after")}
            setattr(actor, handler.method, self._handling(handler.message.__name__, getattr(actor, handler.method)))
        return actor

    def _stepping(self, name: str, method: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Return the method with a step before it."""

        async def run() -> None:
            self._step(name)
            await method()

        return run

    def _handling(self, message: str, method: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
        """Return the handler with a step before it and one after it. The handler waits while `held` is active."""

        async def run(given: object) -> object:
            await self._may_go_on.wait()
            self._step(f"before {message}")
            answer = await method(given)
            self._step(f"after {message}")
            return answer

        return run

    def _step(self, name: str) -> None:
        """Count a step, and fail if the test has chosen this occurrence."""
        self._steps[name] += 1
        if (name, self._steps[name]) in self._crashes:
            raise InjectedCrash(f"at {name!r}, as the test said")


@asynccontextmanager
async def open_actor[Role](
    name: str, factory: Callable[[], Actor[Role]], *probes: Probe[Any], mailbox: MailboxLimits | None = None
) -> AsyncGenerator[Harness[Role]]:
    """Run one actor for the block. The actor restarts immediately whenever it fails.

    Args:
        name: the name of the actor.
        factory: creates the actor; it may use the references of the probes.
        probes: the collaborators of the actor.
        mailbox: the limits of the actor's mailbox.
    """
    harness = Harness(ActorRef[Role](name))
    spec = ActorSpec(
        ref=harness.ref,
        factory=lambda: harness.prepared(factory()),
        mailbox=mailbox or MailboxLimits(),
        backoff=Backoff(initial_s=0, jitter=0),
    )
    children = (*(probe.spec() for probe in probes), spec)
    root = SupervisorSpec(name=_ROOT, children=children, intensity=None)
    async with open_tree(root, seed=0, on_report=harness.reports.append) as harness.tree:
        yield harness
