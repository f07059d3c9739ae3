"""The runtime's interface for an actor: its names, and methods to start tasks and to finish."""

import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from artifactstore.supervision.envelope import current_caller
from artifactstore.supervision.tasks import TaskHandle
from artifactstore_protocols.supervision import OnCancel, OnTaskCrash

__all__ = ["ActorContext", "Host"]


class Host(Protocol):
    """The methods of an incarnation that the context uses."""

    def start_task(self, handle: TaskHandle, body: Callable[[], Awaitable[None]]) -> None:
        """Run the body in the actor's nursery, under the handle's name."""
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
        """The trio time when the running handler's last caller times out, or when the running hook is cancelled.

        It is infinite in a task, and in the handler of a message that was sent with `tell`.
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
        """Start a task of this actor. The task ends with this incarnation at the latest; see `tasks.py`.

        Raises:
            ChildExists: a task of this name is running.
        """
        handle = TaskHandle(name, on_crash, on_cancel)
        self._host.start_task(handle, lambda: handle.run(work, args))
        return handle

    def finish(self) -> None:
        """End this actor after its running handlers. Messages that have not been started stay in the mailbox.

        The supervisor then starts a permanent actor again, but not a transient or temporary one.
        """
        self._host.finish()
