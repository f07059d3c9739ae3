"""Tasks that an actor starts beside its handlers, such as one ingest session or one tail.

Each has a name, a cancel scope of its own and a policy for its failure. A task ends with its actor's incarnation: when
the actor stops it is cancelled after `on_stop`, or with `OnCancel.COMPLETE` runs on to the shutdown deadline; when the
actor crashes, the same, without `on_stop`.
"""

from collections.abc import Awaitable, Callable

import trio

from artifactstore.supervision.envelope import current_caller
from artifactstore.supervision.failures import real_failure
from artifactstore_protocols.supervision import OnCancel, OnTaskCrash

__all__ = ["TaskHandle"]


class TaskHandle:
    """A task of an actor.

    Attributes:
        name: unique among the actor's live tasks.
        on_crash: what its failure does to the actor.
        failure: what it failed with, once it has.
    """

    def __init__(self, name: str, on_crash: OnTaskCrash, on_cancel: OnCancel) -> None:
        self.name = name
        self.on_crash = on_crash
        self.failure: BaseException | None = None
        self._scope = trio.CancelScope(shield=on_cancel is OnCancel.COMPLETE)
        self._done = trio.Event()

    def cancel(self) -> None:
        """Ask the task to end; `wait` tells when it has."""
        self._scope.cancel(reason=f"task {self.name} was cancelled")

    def finish_by(self, deadline: float) -> None:
        """Bound what the task may still take; for the runtime."""
        self._scope.deadline = min(self._scope.deadline, deadline)

    @property
    def done(self) -> bool:
        """Whether the task has ended, however it ended."""
        return self._done.is_set()

    async def wait(self) -> None:
        """Wait until the task has ended; raises nothing that the task raised."""
        await self._done.wait()

    async def run[*Ts](self, work: Callable[[*Ts], Awaitable[object]], args: tuple[*Ts]) -> None:
        """The body of the task; for the runtime. Leaves what it failed with in `failure`."""
        # Nobody waits for an answer of this task, so what it asks is no part of its starter's chain.
        current_caller.set(None)
        try:
            with self._scope:
                await work(*args)
        except BaseException as error:
            self.failure = real_failure(error)
            if self.failure is None:
                raise
        finally:
            self._done.set()
