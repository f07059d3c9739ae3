"""One life of an actor, from a new instance to the end of its last task.

The cancel scope `_life` holds two nurseries. The outer one runs the tasks that the actor started; the inner one runs
its workers. So an orderly stop ends the workers first, then runs `on_stop`, then cancels the tasks. A crash cancels the
whole of `_life`. Work and tasks that must complete are shielded from both, up to a deadline.

A worker is a task that takes messages from a lane and runs their handlers itself. Only a concurrent lane has more than
one worker. However a handler ends, every envelope of its work is settled or queued again before the worker continues.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio
from msgspec import Struct

from artifactstore.supervision.actor import Actor
from artifactstore.supervision.answers import Answers
from artifactstore.supervision.envelope import Hook, Work, current_caller, home
from artifactstore.supervision.failures import real_failure
from artifactstore.supervision.lane import Lane
from artifactstore.supervision.mailbox import Mailbox
from artifactstore.supervision.requests import current_request
from artifactstore.supervision.specs import ActorSpec
from artifactstore.supervision.system_lane import SystemLane
from artifactstore.supervision.tasks import TaskHandle
from artifactstore_protocols.supervision import Batched, ChildExists, Message, OnCancel, OnTaskCrash, Refusal

__all__ = ["Crash", "Incarnation", "Watcher"]

_WORK_SHARE = 0.8
"""The share of the shutdown timeout for drained and completing work; the rest is for `on_stop`."""


class Crash(Struct, frozen=True):
    """The failure that ended an incarnation.

    Attributes:
        cause: the failure. It is an Exception, unless it concerns the host program, as KeyboardInterrupt does.
        messages: the messages of the handler that failed; empty if the start, the stop or a task failed.
        summary: the actor's `state_summary`.
    """

    cause: BaseException
    messages: tuple[Message[Any], ...]
    summary: Mapping[str, str | int]


class Watcher(Struct, frozen=True):
    """Callbacks for the progress of an incarnation.

    Attributes:
        ready: called when it has started.
        due: called with the trio time by which it must be ready or over.
        task_failed: called with name and failure of a task whose failure is only reported.
    """

    ready: Callable[[], None]
    due: Callable[[float], None]
    task_failed: Callable[[str, Exception], None]


class Incarnation:
    """One running instance of an actor.

    Attributes:
        path: path of the actor.
        works: running handler calls, oldest first.
        tasks: the actor's running tasks by name.
        task: the trio task that runs the incarnation.
        system: its system lane.
    """

    def __init__(self, spec: ActorSpec[Any], actor: Actor[Any], mailbox: Mailbox, watcher: Watcher) -> None:
        self.path = mailbox.path
        self.works: dict[Work, None] = {}
        self.tasks: dict[str, TaskHandle] = {}
        self.task = trio.lowlevel.current_task()
        self.system = SystemLane(self._summary)
        self._spec = spec
        self._actor = actor
        self._mailbox = mailbox
        self._watcher = watcher
        self._answers = Answers(mailbox, spec.max_deliveries)
        self._life = trio.CancelScope()
        self._nursery: trio.Nursery  # set before on_start; nothing uses it earlier
        self._workers: trio.Nursery | None = None
        self._work_deadline: float | None = None
        self._task_deadline: float | None = None
        self._draining = False
        self._finishing = False
        self._crash: Crash | None = None

    async def run(self) -> Crash | None:
        """Run until the end. Return the crash that ended it, or None if it was stopped or finished."""
        try:
            with self._life:
                await self._live()
        except BaseException as error:
            failure = real_failure(error)
            if failure is None:
                raise
            self._fail(failure, ())
        finally:
            self._mailbox.spawn = None
            self.system.close()
        return self._crash

    def stop(self, *, drain: bool) -> None:
        """Stop in order within the shutdown timeout; with `drain`, handle all queued messages first."""
        self._bound()
        if self._workers is None:
            self._life.cancel(reason="stopped before it was ready")
        elif drain:
            self._mailbox.close()
            self._draining = True
            self._check_idle()
        else:
            self._workers.cancel_scope.cancel(reason="stopped")

    def finish(self) -> None:
        """End in order after the running handlers; see `ActorContext.finish`."""
        self._finishing = True
        self._check_idle()

    def start_task(self, handle: TaskHandle, body: Callable[[], Awaitable[None]]) -> None:
        """Run a task of the actor; see `ActorContext.start_child`."""
        if handle.name in self.tasks:
            raise ChildExists(f"{self.path}/{handle.name}", "running")
        if self._task_deadline is not None:
            handle.finish_by(self._task_deadline)
        self._nursery.start_soon(self._run_task, handle, body, name=f"{self.path}/{handle.name}")
        self.tasks[handle.name] = handle

    async def _live(self) -> None:
        home.set(self.path)
        async with trio.open_nursery() as self._nursery:
            deadline = trio.current_time() + self._spec.start_timeout_s
            self._watcher.due(deadline)
            current_caller.set(Hook((self._mailbox,), deadline))
            with trio.move_on_at(deadline) as starting:
                await self._actor.on_start()
            if starting.cancel_called:  # even if on_start returned after the deadline
                raise TimeoutError(f"on_start took longer than {self._spec.start_timeout_s:g} s")
            await self._serve()
            if self._crash is None:
                current_caller.set(Hook((self._mailbox,), self._bound()))
                await self._actor.on_stop()
            self._nursery.cancel_scope.cancel(reason="the actor has stopped")

    async def _serve(self) -> None:
        async with trio.open_nursery() as workers:

            def spawn(lane: Lane) -> None:
                if self._ending():
                    return  # the next incarnation starts a worker for each queued message
                lane.workers += 1
                workers.start_soon(self._work_on, lane, name=f"{self.path} (worker)")

            self._workers = workers
            self.system.open()  # before that task runs: a caller that sees the actor running may already ping it
            workers.start_soon(self.system.serve, name=f"{self.path} (system)")
            self._mailbox.spawn = spawn
            for lane in self._mailbox.lanes():
                lane.workers = 0
                for _ in range(min(lane.limit, lane.backlog()) if lane.on_demand else 0):
                    spawn(lane)
            self._watcher.ready()
            self._check_idle()
            await self._work_on(self._mailbox.serial)

    async def _work_on(self, lane: Lane) -> None:
        home.set(self.path)  # a caller's task may have started this one, which then inherits its context
        # A scope costs as much as a channel hop, so one is reused until it is cancelled or has a deadline.
        while True:
            with trio.CancelScope() as scope:
                while not scope.cancel_called and scope.deadline == math.inf:
                    await self._work_once(lane, scope)

    async def _work_once(self, lane: Lane, scope: trio.CancelScope) -> None:
        mailbox = self._mailbox
        envelope = await mailbox.take(lane)
        if not envelope.is_wanted():
            self._check_idle()
        elif self._ending():
            mailbox.put_back(envelope)
            await trio.sleep_forever()
        else:
            mode = envelope.handler.mode
            batch = mailbox.gather(lane, envelope, mode) if isinstance(mode, Batched) else (envelope,)
            await self._handle(Work(mailbox, envelope.handler, batch, scope))

    async def _handle(self, work: Work) -> None:
        self.works[work] = None
        if self._work_deadline is not None:
            work.scope.deadline = self._work_deadline
        if work.handler.on_cancel is OnCancel.COMPLETE:
            work.scope.shield = True
        current_caller.set(work)
        current_request.set(work.request)
        try:
            method = getattr(self._actor, work.handler.method)
            if isinstance(work.handler.mode, Batched):
                self._answers.give(work, await method(work.messages))
            else:
                work.envelopes[0].answer(await method(work.messages[0]))
        except trio.Cancelled:
            raise
        except BaseException as error:
            failure = real_failure(error)
            if failure is None:
                raise
            if isinstance(failure, Refusal):
                self._answers.refuse(work.envelopes, failure)
            else:
                self._answers.crash(work, failure)
                self._fail(failure, work.messages)
        finally:
            work.scope.shield = False
            current_caller.set(None)  # so that an idle worker keeps no message alive
            del self.works[work]
            self._answers.leave_none(work)
            self._check_idle()

    def _fail(self, cause: BaseException, messages: tuple[Message[Any], ...]) -> None:
        """Record a crash if it is the first, and cancel everything."""
        if self._crash is None:
            self._crash = Crash(cause, messages, self._summary())
        self._bound()
        self._life.cancel(reason="crashed")

    def _bound(self) -> float:
        """Limit the rest of this life to the shutdown timeout, counted from the first call. Return the deadline."""
        if self._task_deadline is not None:
            return self._task_deadline
        now = trio.current_time()
        self._work_deadline = now + self._spec.shutdown_timeout_s * _WORK_SHARE
        self._task_deadline = now + self._spec.shutdown_timeout_s
        self._life.deadline = self._task_deadline
        if self._workers is not None:
            self._workers.cancel_scope.deadline = self._work_deadline
        for work in self.works:
            work.scope.deadline = self._work_deadline
        for handle in self.tasks.values():
            handle.finish_by(self._task_deadline)
        self._watcher.due(self._task_deadline)
        return self._task_deadline

    def _ending(self) -> bool:
        """Return whether no further message must be started, even if a worker has just received one."""
        return (
            self._finishing
            or self._life.cancel_called
            or self._workers is None
            or self._workers.cancel_scope.cancel_called
        )

    def _check_idle(self) -> None:
        """Cancel the workers if they have nothing left to do."""
        done = self._finishing or (self._draining and self._mailbox.depth == 0)
        if done and not self.works and self._workers is not None:
            self._workers.cancel_scope.cancel(reason="nothing is left to do")

    async def _run_task(self, handle: TaskHandle, body: Callable[[], Awaitable[None]]) -> None:
        try:
            await body()
        finally:
            del self.tasks[handle.name]
        failure = handle.failure
        if isinstance(failure, Exception) and handle.on_crash is OnTaskCrash.REPORT:
            self._watcher.task_failed(handle.name, failure)
        elif failure is not None:
            self._fail(failure, ())

    def _summary(self) -> Mapping[str, str | int]:
        try:
            return dict(self._actor.state_summary())
        except Exception as error:
            return {"state_summary": f"failed: {error!r}"}
