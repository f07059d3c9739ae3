"""Tasks that an actor starts in addition to its handlers, such as one ingest session or one tail.

Each has a name, its own cancel scope and a policy for its failure. A task ends with its actor's incarnation. When the
actor stops, the task is cancelled after `on_stop`; with `OnCancel.COMPLETE` it runs on to the shutdown deadline. When
the actor crashes, the same happens without `on_stop`.
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
        name: unique among the actor's running tasks.
        on_crash: what its failure does to the actor.
        failure: the exception that it failed with; None until then.
    """

    def __init__(self, name: str, on_crash: OnTaskCrash, on_cancel: OnCancel) -> None:
        self.name = name
        self.on_crash = on_crash
        self.failure: BaseException | None = None
        self._scope = trio.CancelScope(shield=on_cancel is OnCancel.COMPLETE)
        self._done = trio.Event()

    def cancel(self) -> None:
        """Cancel the task. Use `wait` to wait for its end."""
        self._scope.cancel(reason=f"task {self.name} was cancelled")

    def finish_by(self, deadline: float) -> None:
        """Set a deadline for the task. Only the runtime calls this."""
        self._scope.deadline = min(self._scope.deadline, deadline)

    @property
    def done(self) -> bool:
        """Whether the task has ended, for any reason."""
        return self._done.is_set()

    async def wait(self) -> None:
        """Wait until the task has ended. Does not raise what the task raised."""
        await self._done.wait()

    async def run[*Ts](self, work: Callable[[*Ts], Awaitable[object]], args: tuple[*Ts]) -> None:
        """Run the task, and keep its exception in `failure`. Only the runtime calls this."""
        # No caller waits for this task, so its asks do not belong to the chain of the code that started it.
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
