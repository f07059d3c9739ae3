"""The harness: one real actor in a tree of its own, with probes around it and the means to make it fail.

    storage, writer = Probe(StorageActor, "storage"), Probe(EventWriter, "event-writer")
    async with open_actor("ingest", lambda: IngestActor(store, storage.ref, writer.ref, …), storage, writer) as harness:
        …

The actor is run by the real runtime, so mailboxes, restarts and answers are those of a store.
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
    """The actor under test, as the test sees it.

    Attributes:
        ref: to ask it.
        tree: that it runs in.
        reports: what the runtime has reported so far.
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
        """The actor now: state, starts, mailbox, handlers in flight."""
        return self.tree.snapshot().actor(f"{_ROOT}/{self.ref.name}")

    @property
    def crashes(self) -> list[CrashReport]:
        """Reports of this actor's crashes."""
        path = f"{_ROOT}/{self.ref.name}"
        return [report for report in self.reports if isinstance(report, CrashReport) and report.path == path]

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Messages that were told in vain, oldest first."""
        return self.tree.dead_letters

    @property
    def dead_letter_counts(self) -> Mapping[DeadLetterReason, int]:
        """How many there were, by reason."""
        return self.tree.dead_letter_counts

    def crash_at(self, step: str, occurrence: int = 1) -> None:
        """Make the actor fail when it comes to a step for the n-th time from now.

        Args:
            step: `on_start`, `on_stop`, `before M` or `after M`, where M is the name of a message type; after it, the
                handler has done its work and its asker has not been answered.
            occurrence: which time, from 1; a batch is one time.

        Raises:
            ValueError: the actor has no such step.
        """
        if step not in self._known:
            raise ValueError(f"{self.ref.name} has no step {step!r}; it has {', '.join(sorted(self._known))}")
        self._crashes.add((step, self._steps[step] + occurrence))

    @contextmanager
    def held(self) -> Generator[None]:
        """Within the block, every handler waits before it begins."""
        self._may_go_on = trio.Event()
        try:
            yield
        finally:
            self._may_go_on.set()

    def fill(self, message: Message[Role]) -> int:
        """Tell a message until the mailbox has no more room; how many went in. Does not wait, so nothing is taken."""
        for count in range(self.snapshot.mailbox.limits.messages + 1):
            try:
                self.ref.try_tell(message)
            except MailboxFull:
                return count
        raise AssertionError("the mailbox takes more than its limit")

    async def advance(self, seconds: float) -> None:
        """Let virtual time pass, and what is due in it happen.

        Raises:
            TypeError: the run's clock is not a `trio.testing.MockClock`.
        """
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, MockClock):
            raise TypeError("time can be advanced only under trio.testing.MockClock: use the fixture mock_clock")
        await trio.testing.wait_all_tasks_blocked()
        clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()

    def prepared(self, actor: Actor[Role]) -> Actor[Role]:
        """Put the steps into a new incarnation; for `open_actor`."""
        for name in ("on_start", "on_stop"):
            self._known.add(name)
            setattr(actor, name, self._stepping(name, getattr(actor, name)))
        for handler in type(actor).handlers.values():
            self._known |= {f"{when} {handler.message.__name__}" for when in ("before", "after")}
            setattr(actor, handler.method, self._handling(handler.message.__name__, getattr(actor, handler.method)))
        return actor

    def _stepping(self, name: str, method: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            self._step(name)
            await method()

        return run

    def _handling(self, message: str, method: Callable[[Any], Awaitable[object]]) -> Callable[[Any], Awaitable[object]]:
        async def run(given: object) -> object:
            await self._may_go_on.wait()
            self._step(f"before {message}")
            answer = await method(given)
            self._step(f"after {message}")
            return answer

        return run

    def _step(self, name: str) -> None:
        self._steps[name] += 1
        if (name, self._steps[name]) in self._crashes:
            raise InjectedCrash(f"at {name!r}, as the test said")


@asynccontextmanager
async def open_actor[Role](
    name: str, factory: Callable[[], Actor[Role]], *probes: Probe[Any], mailbox: MailboxLimits | None = None
) -> AsyncGenerator[Harness[Role]]:
    """Run one actor for the block, restarted at once whenever it fails.

    Args:
        name: of the actor.
        factory: makes it; it may use the references of the probes.
        probes: its collaborators.
        mailbox: how much may wait for it.
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
