"""The base class of actors."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from artifactstore.supervision.context import ActorContext
from artifactstore.supervision.handlers import Handler, collect
from artifactstore_protocols.supervision import Message

__all__ = ["Actor"]


class Actor[Role]:
    """An actor's state, which only its own handlers use and which a crash discards.

    Subclass it as `class StorageActor(Actor[StorageRole])` and declare handlers with `@handles`. Each start creates a
    new instance with `ActorSpec.factory`. Between two awaits, no other code of the actor runs. Serial handlers also
    never run concurrently with one another.

    Attributes:
        context: set by the runtime before `on_start`; not available in `__init__`.
        handlers: the handlers of the class, by message type.
    """

    context: ActorContext
    handlers: ClassVar[Mapping[type[Message[Any]], Handler]] = {}

    @override
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.handlers = collect(cls)

    async def on_start(self) -> None:
        """Prepare the actor. It counts as started when this returns, and handles no message before that.

        The start fails if this raises or takes longer than `ActorSpec.start_timeout_s`.
        """

    async def on_stop(self) -> None:
        """Clean up, after the last handler and before the actor's tasks are cancelled.

        This runs when the actor is stopped or finishes, within the rest of the shutdown timeout. It does not run after
        a crash, after a failed start or past the shutdown deadline, so safety must not depend on it.
        """

    def state_summary(self) -> Mapping[str, str | int]:
        """Return a few short values for crash reports and pings. Must not raise or block."""
        return {}
