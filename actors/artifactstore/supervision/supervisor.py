"""The supervisor carries out what `artifactstore_protocols.supervision.decision` decides. It decides nothing itself.

Events arrive as plain calls, and decisions are carried out at once without waiting, so the table always reflects what
the members have done. Actions that take time run in the supervisor's nursery and end with the next event.
"""

import random
from collections.abc import Callable, Sequence
from typing import override

import trio
from msgspec import Struct, field
from msgspec.structs import replace

from artifactstore.supervision.cell import Cell
from artifactstore.supervision.reports import CrashReport
from artifactstore.supervision.runtime import Ending, Member, Runtime, Status
from artifactstore.supervision.specs import ActorSpec, ChildSpec, SupervisorSpec
from artifactstore_protocols.supervision import (
    ChildState,
    Failure,
    Phase,
    StartFailed,
    Strategy,
    SupervisorGaveUp,
    SupervisorSnapshot,
    UnknownChild,
)
from artifactstore_protocols.supervision.decision import Decision, boot, decide
from artifactstore_protocols.supervision.events import (
    Action,
    Add,
    Delay,
    Elapsed,
    Event,
    Exited,
    Order,
    Ready,
    Release,
    Shutdown,
    Start,
    Stop,
)
from artifactstore_protocols.supervision.lifecycle import ExitKind
from artifactstore_protocols.supervision.table import Child, Supervision

__all__ = ["Supervisor"]

_UNSETTLED = frozenset({ChildState.QUEUED, ChildState.STARTING, ChildState.DOOMED, ChildState.STOPPING})

# If no other child is running, the second phase of each set is entered at once.
_GIVES_UP = frozenset({Phase.GIVING_UP, Phase.GAVE_UP})
_FAILS_TO_START = frozenset({Phase.UNWINDING, Phase.START_FAILED})


class _Entry(Struct):
    """A child and its data that is not in the table."""

    spec: ChildSpec
    member: Member
    draws: random.Random
    last_failure: Failure | None = None
    cause: BaseException | None = None


class _Run(Struct):
    """The state of one run of the supervisor."""

    nursery: trio.Nursery
    ready: Callable[[], None]
    over: trio.Event = field(default_factory=trio.Event)


class Supervisor(Member):
    """A supervisor, through all its runs.

    Attributes:
        path: names from the root, joined by `/`.
    """

    def __init__(
        self,
        spec: SupervisorSpec,
        path: str,
        runtime: Runtime,
        standing: Callable[[], tuple[ChildState, Failure | None]] | None = None,
    ) -> None:
        self.path = path
        self._spec = spec
        self._runtime = runtime
        self._own_standing = standing
        self._entries = {child.name: self._entry(child) for child in spec.children}
        self._table = self._fresh_table()
        self._run: _Run  # the current or last run; not used before the first
        self._under_way = False
        self._changed = trio.Event()
        self._failure: Exception | None = None

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._table.phase

    @override
    async def run(self, nursery: trio.Nursery, ready: Callable[[], None]) -> Ending:
        self._restore_static_children()
        self._failure = None
        async with trio.open_nursery() as children:
            self._run = run = _Run(children, ready)
            self._under_way = True
            self._carry_out(boot(self._table))
            await run.over.wait()
            self._under_way = False
            children.cancel_scope.cancel(reason="all children are down")
        self._forget_dynamic_children()
        if self._failure is None:
            return Ending(ExitKind.FINISHED)
        return Ending(ExitKind.CRASHED, self._failure)

    @override
    def stop(self, *, drain: bool) -> None:
        if self._under_way:  # otherwise its task has not begun, and will not run it
            self._take(Shutdown(drain))

    @override
    def release(self, *, removed: bool) -> None:
        for entry in self._entries.values():
            entry.member.release(removed=removed)

    @override
    def snapshot(self, status: Status) -> SupervisorSnapshot:
        now = trio.current_time()
        limit = self._table.intensity
        recent = [at for at in self._table.restarts if limit and now - at <= limit.period_s]
        return SupervisorSnapshot(
            name=self._spec.name,
            path=self.path,
            state=status.state,
            phase=self.phase,
            restart=status.restart,
            starts=status.starts,
            strategy=self._spec.strategy,
            intensity=limit,
            restarts_in_period=len(recent),
            children=tuple(self._entries[row.name].member.snapshot(self._status(row)) for row in self._table.children),
            last_failure=status.last_failure,
            at=now,
        )

    def find(self, names: tuple[str, ...]) -> "tuple[Supervisor, str]":
        """Return the supervisor that holds the child with these names below this one, and the child's own name.

        Raises:
            UnknownChild: there is no such child.
        """
        entry = self._entries.get(names[0])
        if entry is None:
            raise UnknownChild(f"{self.path}/{'/'.join(names)}")
        if len(names) == 1:
            return self, names[0]
        if not isinstance(entry.member, Supervisor):
            raise UnknownChild(f"{self.path}/{'/'.join(names)}")
        return entry.member.find(names[1:])

    def member(self, name: str) -> Member:
        """Return the child of this name."""
        return self._entries[name].member

    async def add(self, spec: ChildSpec) -> None:
        """Add a child and wait until it is ready. Raises the errors of `Tree.start_child`."""
        decision = decide(self._table, Add(_row(spec)))
        self._entries[spec.name] = self._entry(spec)
        self._carry_out(decision)
        await self.started(spec.name)

    def order(self, order: Order) -> None:
        """Carry out an order about one child. Raises the errors of `decide`."""
        self._take(order)

    async def settled(self, name: str) -> Child | None:
        """Wait until a child is neither starting nor stopping. Return its row, or None if it is removed."""
        while (row := self._table.find(name)) is not None and row.state in _UNSETTLED:
            await self._changed.wait()
        return row

    async def started(self, name: str) -> None:
        """Wait until a child that was ordered to start is running.

        Raises:
            StartFailed: the child is not running.
        """
        entry = self._entries[name]
        row = await self.settled(name)
        if row is None or row.state is not ChildState.RUNNING:
            cause = entry.cause or RuntimeError("it was stopped before it was ready")
            raise StartFailed(f"{self.path}/{name}", cause) from cause

    def _entry(self, spec: ChildSpec) -> _Entry:
        path = f"{self.path}/{spec.name}"
        member: Member

        def standing() -> tuple[ChildState, Failure | None]:
            return self._state(spec.name), self._why_down(spec.name)

        if isinstance(spec, ActorSpec):
            member = Cell(spec, path, self._runtime, standing)
        else:
            member = Supervisor(spec, path, self._runtime, standing)
        return _Entry(spec, member, self._runtime.draws(path))

    def _fresh_table(self, before: Sequence[Child] = ()) -> Supervision:
        """Return a table of the spec's children, all down. Children in `before` keep their number of starts."""
        starts = {row.name: row.generation for row in before}
        rows = tuple(replace(_row(child), generation=starts.get(child.name, 0)) for child in self._spec.children)
        return Supervision(self.path, self._spec.strategy, self._spec.intensity, rows)

    def _restore_static_children(self) -> None:
        """Begin a run with all children of the spec, including temporary ones that an earlier run removed."""
        for child in self._spec.children:
            if child.name not in self._entries:
                self._entries[child.name] = self._entry(child)
        self._table = self._fresh_table(self._table.children)

    def _forget_dynamic_children(self) -> None:
        """End a run: remove the children that were added by order."""
        for name, entry in list(self._entries.items()):
            if entry.spec not in self._spec.children:
                del self._entries[name]
                entry.member.release(removed=True)
        rows = tuple(child for child in self._table.children if child.name in self._entries)
        self._table = replace(self._table, children=rows)

    def _state(self, name: str) -> ChildState:
        row = self._table.find(name)
        return ChildState.REMOVED if row is None else row.state

    def _why_down(self, name: str) -> Failure | None:
        """Return the failure that keeps a child down; see `Reading.why_down`."""
        if self._state(name) is ChildState.RUNNING:
            return None
        alone = self._spec.strategy is Strategy.ONE_FOR_ONE
        down = [row.name for row in self._table.children if row.state is not ChildState.RUNNING]
        entries = [self._entries[each] for each in ([name] if alone else down) if each in self._entries]
        above = None if self._own_standing is None else self._own_standing()[1]
        failures = [failure for failure in (above, *(entry.last_failure for entry in entries)) if failure is not None]
        return max(failures, key=lambda failure: failure.at, default=None)

    def _status(self, row: Child) -> Status:
        entry = self._entries[row.name]
        up = row.state in {ChildState.RUNNING, ChildState.DOOMED}
        return Status(
            row.state,
            row.restart,
            row.generation,
            row.ready_at if up else None,
            entry.last_failure,
        )

    def _take(self, event: Event) -> Decision:
        decision = decide(self._table, event)
        self._carry_out(decision)
        return decision

    def _carry_out(self, decision: Decision) -> None:
        self._table = decision.state
        for action in decision.actions:
            self._act(action)
        self._changed.set()
        self._changed = trio.Event()

    def _act(self, action: Action) -> None:
        run = self._run
        match action:
            case Start():
                run.nursery.start_soon(self._run_child, run.nursery, action.name, name=f"{self.path}/{action.name}")
            case Stop():
                self._entries[action.name].member.stop(drain=action.drain)
            case Delay():
                run.nursery.start_soon(self._elapse, action)
            case Release():
                self._entries[action.name].member.release(removed=action.removed)
                if action.removed:
                    del self._entries[action.name]
            case _:
                if action.phase is Phase.RUNNING:
                    run.ready()
                else:
                    run.over.set()

    async def _run_child(self, nursery: trio.Nursery, name: str) -> None:
        entry = self._entries[name]
        ending = Ending(ExitKind.FINISHED)
        if self._state(name) is not ChildState.STOPPING:
            ending = await entry.member.run(nursery, lambda: self._ready(name))
        now = trio.current_time()
        entry.cause = ending.failure
        if ending.failure is not None and not isinstance(ending.failure, Exception):
            self._runtime.abort(ending.failure)
        event = Exited(name, ending.kind, now, entry.draws.random())
        decision = decide(self._table, event)
        outcome = str(decision.outcome)
        failure = ending.failure
        if failure is not None:
            entry.last_failure = Failure(type(failure).__name__, str(failure), now, outcome)
        self._blame(decision.state.phase, entry.member.path, failure)
        generation = self._table.child(name).generation
        self._carry_out(decision)
        if failure is not None:
            self._runtime.reporter.send(
                CrashReport(
                    path=entry.member.path,
                    incarnation=generation,
                    cause=failure,
                    messages=ending.messages,
                    summary=ending.summary or {},
                    decision=outcome,
                    starting=decision.state.phase in _FAILS_TO_START,
                    at=now,
                )
            )

    def _blame(self, phase: Phase, child: str, cause: BaseException | None) -> None:
        """Record why this supervisor goes down, if a child's failure causes that."""
        if self._failure is not None:
            return
        if phase in _GIVES_UP:
            self._failure = SupervisorGaveUp(self.path, child, cause)
            self._failure.__cause__ = cause
        elif phase in _FAILS_TO_START and isinstance(cause, StartFailed):
            self._failure = cause
        elif phase in _FAILS_TO_START:
            self._failure = StartFailed(child, cause or RuntimeError("it ended before it was ready"))
            self._failure.__cause__ = cause

    def _ready(self, name: str) -> None:
        self._entries[name].cause = None  # its traceback would keep the handled messages alive
        self._take(Ready(name, trio.current_time()))
        starts = self._table.child(name).generation
        self._runtime.reporter.ready(self._entries[name].member.path, starts)

    async def _elapse(self, delay: Delay) -> None:
        await trio.sleep(delay.seconds)
        self._take(Elapsed(delay.name, delay.generation))


def _row(spec: ChildSpec) -> Child:
    return Child(spec.name, spec.restart, spec.backoff)
