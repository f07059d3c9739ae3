"""The class that actors extend."""

from collections.abc import Mapping
from typing import Any, ClassVar, override

from artifactstore.supervision.context import ActorContext
from artifactstore.supervision.handlers import Handler, collect
from artifactstore_protocols.supervision import Message

__all__ = ["Actor"]


class Actor[Role]:
    """State that only its own handlers touch, and that a crash throws away.

    Subclass it as `class StorageActor(Actor[StorageRole])` and declare handlers with `@handles`. Each start makes a new
    one with `ActorSpec.factory`. Between two awaits nothing else of the actor runs; serial handlers also never overlap
    one another.

    Attributes:
        context: set by the runtime before `on_start`, not yet there in `__init__`.
        handlers: what the class handles, by message type.
    """

    context: ActorContext
    handlers: ClassVar[Mapping[type[Message[Any]], Handler]] = {}

    @override
    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.handlers = collect(cls)

    async def on_start(self) -> None:
        """Get ready; the actor counts as started when this returns, and handles no message before.

        An exception, or taking longer than `ActorSpec.start_timeout_s`, is a failed start.
        """

    async def on_stop(self) -> None:
        """Put things in order, after the last handler and before the actor's tasks are cancelled.

        Runs when the actor is stopped or finishes, under what is left of the shutdown deadline. Does not run when
        the actor crashed, when its start failed, or when the deadline has passed: do not rely on it for safety.
        """

    def state_summary(self) -> Mapping[str, str | int]:
        """A few facts for crash reports and pings. Must not fail or wait; short values only."""
        return {}
