"""`open_tree`: a whole tree of actors as one async context manager, and what can be done with it while it is open.

Whatever ends the block, an error, a cancellation or its own end, the tree stops in reverse order and within the
shutdown times of its children, because it runs shielded from the cancellation of its host.
"""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import trio

from artifactstore.supervision.clock import Clock, SystemClock
from artifactstore.supervision.dead_letters import DeadLetters
from artifactstore.supervision.reports import Report, Reporter
from artifactstore.supervision.runtime import Ending, Runtime, Status
from artifactstore.supervision.specs import ChildSpec, SupervisorSpec
from artifactstore.supervision.supervisor import Supervisor
from artifactstore_protocols.supervision import (
    ChildState,
    DeadLetter,
    DeadLetterReason,
    Phase,
    SupervisorSnapshot,
    UnknownChild,
)

__all__ = ["Tree", "open_tree"]

_STATE_OF_ROOT = {Phase.BOOTING: ChildState.STARTING, Phase.RUNNING: ChildState.RUNNING}


class Tree:
    """A running tree; made by `open_tree`.

    Paths are names joined by `/`, beginning with the root's.
    """

    def __init__(self, spec: SupervisorSpec, runtime: Runtime) -> None:
        self._spec = spec
        self._runtime = runtime
        self._root = Supervisor(spec, spec.name, runtime)
        self._ready_at: float | None = None

    def snapshot(self) -> SupervisorSnapshot:
        """The state of everything, at this instant."""
        phase = self._root.phase
        state = _STATE_OF_ROOT.get(phase, ChildState.STOPPING)
        return self._root.snapshot(Status(state, self._spec.restart, 1, self._ready_at, None, None))

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The latest messages that were told in vain, oldest first."""
        return self._runtime.dead_letters.latest()

    @property
    def dead_letter_counts(self) -> Mapping[DeadLetterReason, int]:
        """How many there ever were, by reason."""
        return self._runtime.dead_letters.counts()

    async def start_child(self, supervisor: str, spec: ChildSpec) -> None:
        """Add a child at the end of a running supervisor's list, and wait until it is ready.

        It lives until it is stopped and removed or its supervisor ends; a restart of that one forgets it.

        Raises:
            UnknownChild: there is no such supervisor.
            ChildExists: it has a child of this name.
            SupervisorNotRunning: it is not running.
            StartFailed: the child did not start; it is forgotten again.
        """
        await self._supervisor(supervisor).add(spec)

    async def stop_child(self, path: str) -> None:
        """Stop a child after draining it, and wait until it is down; its place is kept unless it is temporary.

        Raises:
            UnknownChild, SupervisorNotRunning: as for `start_child`.
        """
        parent, name = self._locate(path)
        await parent.stop_existing(name)

    async def start_stopped_child(self, path: str) -> None:
        """Start a child that is down, and wait until it is ready.

        Raises:
            ChildExists: it is running.
            ChildBusy: it is on its way up or down.
            StartFailed: it did not start, and is down again.
            UnknownChild, SupervisorNotRunning: as for `start_child`.
        """
        parent, name = self._locate(path)
        await parent.start_existing(name)

    async def restart_child(self, path: str) -> None:
        """Stop a child, keeping its mailbox, and start it again; or start it now if it is down or in backoff.

        Raises:
            ChildBusy, StartFailed, UnknownChild, SupervisorNotRunning: as for `start_stopped_child`.
        """
        parent, name = self._locate(path)
        await parent.restart_existing(name)

    def remove_child(self, path: str) -> None:
        """Forget a child that is down.

        Raises:
            ChildBusy: it is not down.
            UnknownChild, SupervisorNotRunning: as for `start_child`.
        """
        parent, name = self._locate(path)
        parent.remove(name)

    async def run(self, ready: Callable[[], None]) -> Ending:
        """Run the root once; for `open_tree`."""

        def note_ready() -> None:
            self._ready_at = trio.current_time()
            ready()

        try:
            return await self._root.run(note_ready)
        finally:
            self._root.release(removed=True)

    def stop(self) -> None:
        """Begin to stop the root; for `open_tree`."""
        self._root.stop(drain=True)

    def _locate(self, path: str) -> tuple[Supervisor, str]:
        root, *names = path.split("/")
        if root != self._spec.name or not names:
            raise UnknownChild(path)
        return self._root.find(tuple(names))

    def _supervisor(self, path: str) -> Supervisor:
        if path == self._spec.name:
            return self._root
        parent, name = self._locate(path)
        member = parent.member(name)
        if not isinstance(member, Supervisor):
            raise UnknownChild(path)
        return member


@asynccontextmanager
async def open_tree(
    spec: SupervisorSpec,
    *,
    seed: int | None = None,
    clock: Clock | None = None,
    on_report: Callable[[Report], None] | None = None,
) -> AsyncGenerator[Tree]:
    """Start a tree, run the block once every child is ready, and stop the tree after it.

    Args:
        spec: the root.
        seed: what the jitter of restarts is drawn from; the same seed gives the same delays. Random unless given.
        clock: what actors get as `context.clock`; the system's unless given.
        on_report: called in the tree's thread with every report, beside the log.

    Raises:
        StartFailed: a child did not get ready; what had started was stopped in reverse order.
        SupervisorGaveUp: the root exceeded its intensity; the block was cancelled.
    """
    chosen = random.SystemRandom().getrandbits(64) if seed is None else seed
    tree = Tree(spec, Runtime(chosen, clock or SystemClock(), DeadLetters(), Reporter(on_report)))
    host = _Host(tree)
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run, name=spec.name)
        try:
            await host.up_or_over.wait()
            if not host.over.is_set():
                with host.block:
                    yield tree
        except BaseException as raised:
            error = raised  # to be raised again below, free of the nursery's group
        tree.stop()
        with trio.CancelScope(shield=True):
            await host.over.wait()
    try:
        if host.ending is not None and host.ending.failure is not None:
            raise host.ending.failure from error
        if error is not None:
            raise error
    finally:
        del error


class _Host:
    """The task that runs the tree, as the block sees it."""

    def __init__(self, tree: Tree) -> None:
        self.block = trio.CancelScope()
        self.up_or_over = trio.Event()
        self.over = trio.Event()
        self.ending: Ending | None = None
        self._tree = tree

    async def run(self) -> None:
        try:
            with trio.CancelScope(shield=True):
                self.ending = await self._tree.run(self.up_or_over.set)
        finally:
            self.over.set()
            self.up_or_over.set()
            self.block.cancel(reason="the tree has ended")
