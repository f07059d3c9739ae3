"""Operations on an open tree: take a snapshot, and add, stop, start, restart and remove children."""

from collections.abc import Callable, Mapping

import trio

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
from artifactstore_protocols.supervision.events import Remove, RestartChild, StartChild, StopChild

__all__ = ["Tree"]

_STATE_OF_ROOT = {Phase.BOOTING: ChildState.STARTING, Phase.RUNNING: ChildState.RUNNING}


class Tree:
    """A running tree; `open_tree` creates it.

    Paths are names joined by `/`, beginning with the root's name.
    """

    def __init__(self, spec: SupervisorSpec, runtime: Runtime) -> None:
        self._spec = spec
        self._runtime = runtime
        self._root = Supervisor(spec, spec.name, runtime)
        self._ready_at: float | None = None

    def snapshot(self) -> SupervisorSnapshot:
        """Return the current state of the whole tree."""
        phase = self._root.phase
        state = _STATE_OF_ROOT.get(phase, ChildState.STOPPING)
        return self._root.snapshot(Status(state, self._spec.restart, 1, self._ready_at, None))

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The latest messages sent with `tell` that were not handled, oldest first."""
        return self._runtime.dead_letters.latest()

    @property
    def dead_letter_counts(self) -> Mapping[DeadLetterReason, int]:
        """The number of dead letters so far, by reason."""
        return self._runtime.dead_letters.counts()

    async def start_child(self, supervisor: str, spec: ChildSpec) -> None:
        """Add a child at the end of a running supervisor's list, and wait until it is ready.

        The child exists until it is stopped and removed or its supervisor ends. A restart of the supervisor drops it.

        Raises:
            UnknownChild: there is no such supervisor.
            ChildExists: the supervisor has a child of this name.
            SupervisorNotRunning: the supervisor is not running.
            StartFailed: the child did not start, and was removed again.
        """
        await self._supervisor(supervisor).add(spec)

    async def stop_child(self, path: str) -> None:
        """Stop a child after draining it, and wait until it is down. A temporary child is also removed.

        Raises:
            UnknownChild, SupervisorNotRunning: see `start_child`.
        """
        parent, name = self._locate(path)
        parent.order(StopChild(name))
        await parent.settled(name)

    async def start_stopped_child(self, path: str) -> None:
        """Start a child that is down, and wait until it is ready.

        Raises:
            ChildExists: the child is running.
            ChildBusy: the child is starting or stopping.
            StartFailed: the child did not start, and is down again.
            UnknownChild, SupervisorNotRunning: see `start_child`.
        """
        parent, name = self._locate(path)
        parent.order(StartChild(name))
        await parent.started(name)

    async def restart_child(self, path: str) -> None:
        """Stop a child, keeping its mailbox, and start it again. Start it at once if it is down or in backoff.

        Raises:
            ChildBusy, StartFailed, UnknownChild, SupervisorNotRunning: see `start_stopped_child`.
        """
        parent, name = self._locate(path)
        parent.order(RestartChild(name))
        await parent.started(name)

    def remove_child(self, path: str) -> None:
        """Remove a child that is down.

        Raises:
            ChildBusy: the child is not down.
            UnknownChild, SupervisorNotRunning: see `start_child`.
        """
        parent, name = self._locate(path)
        parent.order(Remove(name))

    async def run(self, ready: Callable[[], None]) -> Ending:
        """Run the root once. Only `open_tree` calls this."""

        def note_ready() -> None:
            self._ready_at = trio.current_time()
            ready()

        try:
            async with trio.open_nursery() as nursery:
                return await self._root.run(nursery, note_ready)
        finally:
            self._root.release(removed=True)

    def stop(self) -> None:
        """Begin to stop the root. Only `open_tree` calls this."""
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
