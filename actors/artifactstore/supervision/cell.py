"""The permanent place of an actor in the tree: its mailbox and its reference, through all incarnations."""

from collections import deque
from collections.abc import Callable
from typing import Any, override

import trio

from artifactstore.supervision.context import ActorContext
from artifactstore.supervision.incarnation import Incarnation, Watcher
from artifactstore.supervision.mailbox import Mailbox
from artifactstore.supervision.reports import CrashReport, StallReport
from artifactstore.supervision.runtime import Ending, Member, Runtime, Status
from artifactstore.supervision.specs import ActorSpec
from artifactstore.supervision.stacks import stack_of_task
from artifactstore.supervision.system_lane import Ping
from artifactstore_protocols.supervision import (
    ActorSnapshot,
    ChildState,
    Failure,
    Reading,
    Stall,
    WorkSnapshot,
)
from artifactstore_protocols.supervision.lifecycle import ExitKind

__all__ = ["Cell"]

_CRASHES_KEPT = 16
_STALL_GRACE_S = 1.0
"""Seconds after its deadline before an unfinished start or stop counts as stalled."""


class Cell(Member):
    """The runner of one actor's incarnations, one after another.

    Attributes:
        path: names from the root, joined by `/`.
    """

    def __init__(
        self,
        spec: ActorSpec[Any],
        path: str,
        runtime: Runtime,
        standing: Callable[[], tuple[ChildState, Failure | None]],
    ) -> None:
        self.path = path
        self._spec = spec
        self._runtime = runtime
        self._standing = standing
        self._mailbox = Mailbox(path, spec.mailbox, runtime.dead_letters)
        self._bound = False
        self._starts = 0
        self._incarnation: Incarnation | None = None
        self._watch_scope = trio.CancelScope()
        self._stall: Stall | None = None
        self._crashed_at: deque[float] = deque(maxlen=_CRASHES_KEPT)
        self._last_crash: str | None = None

    @override
    async def run(self, nursery: trio.Nursery, ready: Callable[[], None]) -> Ending:
        ending = await self._run(nursery, ready)
        if ending.failure is not None:
            self._crashed_at.append(trio.current_time())
            self._last_crash = f"{type(ending.failure).__name__}: {ending.failure}"
        return ending

    async def _run(self, nursery: trio.Nursery, ready: Callable[[], None]) -> Ending:
        self._starts += 1
        try:
            actor = self._spec.factory()
            self._mailbox.open(actor.handlers)
            if not self._bound:
                self._spec.ref.bind(self._mailbox, self._ping)
                self._bound = True
        except BaseException as error:
            return Ending(ExitKind.CRASHED, error)

        def is_ready() -> None:
            self._watch_scope.cancel(reason="it is ready")
            ready()

        def is_due(deadline: float) -> None:
            self._watch_scope.cancel(reason="superseded")
            self._watch_scope = trio.CancelScope()
            nursery.start_soon(self._watch, self._watch_scope, deadline, name=f"{self.path} (watch)")

        watcher = Watcher(is_ready, is_due, self._task_failed)
        incarnation = Incarnation(self._spec, actor, self._mailbox, watcher)
        actor.context = ActorContext(self.path, self._starts, incarnation)
        self._incarnation = incarnation
        try:
            crash = await incarnation.run()
        finally:
            self._incarnation = None
            self._stall = None
            self._watch_scope.cancel(reason="it is over")
        if crash is None:
            return Ending(ExitKind.FINISHED)
        return Ending(ExitKind.CRASHED, crash.cause, crash.messages, crash.summary)

    @override
    def stop(self, *, drain: bool) -> None:
        if self._incarnation is not None:
            self._incarnation.stop(drain=drain)

    @override
    def release(self, *, removed: bool) -> None:
        self._mailbox.release()
        if removed and self._bound:
            self._bound = False
            self._spec.ref.unbind()

    @override
    def snapshot(self, status: Status) -> ActorSnapshot:
        now = trio.current_time()
        running = self._incarnation
        return ActorSnapshot(
            name=self._spec.name,
            path=self.path,
            state=status.state,
            restart=status.restart,
            starts=status.starts,
            uptime_s=None if status.ready_at is None else now - status.ready_at,
            mailbox=self._mailbox.snapshot(),
            work=() if running is None else _works(running, now),
            tasks=() if running is None else tuple(running.tasks),
            last_failure=status.last_failure,
            stall=self._stall,
            last_block=self._runtime.blocks.get(self.path),
        )

    async def _ping(self, timeout_s: float) -> Reading:
        began = trio.current_time()
        ping = Ping()
        if self._incarnation is None:
            await trio.lowlevel.checkpoint()
        else:
            self._incarnation.system.send(ping)
            with trio.move_on_after(timeout_s):
                await ping.over.wait()
        now = trio.current_time()
        works = () if self._incarnation is None else _works(self._incarnation, now)
        state, why_down = self._standing()
        return Reading(
            path=self.path,
            state=state,
            answered=ping.summary is not None,
            latency_s=now - began,
            depth=self._mailbox.depth,
            oldest_s=self._mailbox.oldest_s,
            current=works[0].message if works else None,
            current_age_s=works[0].age_s if works else None,
            crashed_at=tuple(self._crashed_at),
            last_crash=self._last_crash,
            at=now,
            summary=ping.summary or {},
            why_down=why_down,
        )

    async def _watch(self, scope: trio.CancelScope, deadline: float) -> None:
        """Report an incarnation that outlives its deadline. Trio cannot end a task by force."""
        with scope:
            await trio.sleep_until(deadline + _STALL_GRACE_S)
            if self._incarnation is not None:
                self._stall = Stall(deadline, stack_of_task(self._incarnation.task))
                self._runtime.reporter.send(StallReport(self.path, self._stall))

    def _task_failed(self, name: str, failure: Exception) -> None:
        self._runtime.reporter.send(
            CrashReport(
                path=f"{self.path}/{name}",
                incarnation=self._starts,
                cause=failure,
                messages=(),
                summary={},
                decision="the task ends, its actor continues",
                starting=False,
                at=trio.current_time(),
            )
        )


def _works(incarnation: Incarnation, now: float) -> tuple[WorkSnapshot, ...]:
    return tuple(
        WorkSnapshot(work.handler.message.__name__, len(work.envelopes), now - work.began_at)
        for work in incarnation.works
    )
