"""References to actors: a typed reference is created before the tree and stays valid across restarts."""

import math
from collections.abc import Awaitable, Callable
from typing import Final, cast

from artifactstore.supervision.mailbox import Mailbox
from artifactstore_protocols.supervision import ActorStopped, Message, Reading, Request

__all__ = ["DEFAULT_TIMEOUT_S", "NO_TIME_LIMIT", "ActorRef"]

DEFAULT_TIMEOUT_S = 30.0

NO_TIME_LIMIT: Final = math.inf
"""The timeout of an ask whose duration depends on the size of its data. Its caller can still be cancelled."""


class ActorRef[Role]:
    """The address of one actor, for messages of its role.

    Attributes:
        name: the actor's name among its siblings.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._mailbox: Mailbox | None = None
        self._ping: Callable[[float], Awaitable[Reading]] | None = None

    def bind(self, mailbox: Mailbox, ping: Callable[[float], Awaitable[Reading]]) -> None:
        """Attach the reference to an actor of a running tree. Only the runtime calls this.

        Raises:
            ValueError: the reference is attached to another actor.
        """
        if self._mailbox is not None:
            raise ValueError(f"the reference {self.name!r} is in use by {self._mailbox.path}")
        self._mailbox = mailbox
        self._ping = ping

    def unbind(self) -> None:
        """Detach the reference. Only the runtime calls this."""
        self._mailbox = self._ping = None

    async def ask[R](self, message: Request[R, Role], *, timeout: float = DEFAULT_TIMEOUT_S) -> R:
        """Send a message and wait for its reply, both within `timeout` seconds.

        Cancelling the caller withdraws a message that has not been started. For a started one, the handler's
        `on_cancel` decides.

        Raises:
            Refusal: the answer of the handler.
            AskTimeout: no reply arrived in time.
            ActorCrashed: the handler failed on this message.
            ActorStopped: the actor is not running, or was stopped before it replied.
            MailboxFull: the message is larger than the mailbox.
            AskCycle: the actor is waiting for the caller.
            UnhandledMessage: the actor has no handler for this type of message.
        """
        return cast("R", await self._bound(message).ask(message, timeout))

    async def tell(self, message: Message[Role]) -> None:
        """Send a message without a reply. Waits only for room in the mailbox.

        Raises:
            ActorStopped, MailboxFull, UnhandledMessage: see `ask`.
        """
        await self._bound(message).tell(message)

    def try_tell(self, message: Message[Role]) -> None:
        """Send a message without a reply and without waiting.

        Raises:
            MailboxFull: the mailbox has no room, or other senders are waiting for room.
            ActorStopped, UnhandledMessage: see `ask`.
        """
        self._bound(message).try_tell(message)

    async def ping(self, *, timeout: float = DEFAULT_TIMEOUT_S) -> Reading:
        """Return what the actor is doing. A ping bypasses the mailbox and is answered while handlers run.

        The reading shows whether the actor's own task answered within `timeout` seconds.

        Raises:
            ActorStopped: no tree holds the actor.
        """
        if self._ping is None:
            raise ActorStopped(self.name, "ping", may_have_taken_effect=False)
        return await self._ping(timeout)

    def _bound(self, message: Message[Role]) -> Mailbox:
        if self._mailbox is None:
            raise ActorStopped(self.name, type(message).__name__, may_have_taken_effect=False)
        return self._mailbox
