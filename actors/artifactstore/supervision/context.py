"""What the runtime gives an actor: its names, and the means to start tasks and to finish."""

import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from artifactstore.supervision.envelope import current_caller
from artifactstore.supervision.tasks import TaskHandle
from artifactstore_protocols.supervision import OnCancel, OnTaskCrash

__all__ = ["ActorContext", "Host"]


class Host(Protocol):
    """What the incarnation offers the context."""

    def start_task(self, handle: TaskHandle, body: Callable[[], Awaitable[None]]) -> None:
        """Run the body in the actor's nursery, under its name."""
        ...

    def finish(self) -> None:
        """End the incarnation as finished."""
        ...


class ActorContext:
    """One incarnation's view of the runtime.

    Attributes:
        name: the actor's name among its siblings.
        path: its names from the root, joined by `/`.
        incarnation: 1 for its first start.
    """

    def __init__(self, path: str, incarnation: int, host: Host) -> None:
        self.name = path.rpartition("/")[2]
        self.path = path
        self.incarnation = incarnation
        self._host = host

    @property
    def deadline(self) -> float:
        """Trio time at which the last asker of the running handler gives up, or at which the running hook is cut off.

        Infinite in a task, and in a handler of a message that was told.
        """
        caller = current_caller.get()
        return math.inf if caller is None else caller.deadline

    def start_child[*Ts](
        self,
        name: str,
        work: Callable[[*Ts], Awaitable[object]],
        *args: *Ts,
        on_crash: OnTaskCrash = OnTaskCrash.CRASH_ACTOR,
        on_cancel: OnCancel = OnCancel.CANCEL,
    ) -> TaskHandle:
        """Start a task of this actor; it ends with this incarnation at the latest. See `tasks.py`.

        Raises:
            ChildExists: a task of this name is running.
        """
        handle = TaskHandle(name, on_crash, on_cancel)
        self._host.start_task(handle, lambda: handle.run(work, args))
        return handle

    def finish(self) -> None:
        """End this actor once what it is doing is done; messages that have not been started stay behind.

        A permanent actor is then started again, a transient or temporary one is not.
        """
        self._host.finish()
