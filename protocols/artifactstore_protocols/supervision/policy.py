"""The policies of actors, as plain values: restarts, mailbox limits and the modes of handlers.

Invalid policies cannot be created: the constructors raise a ValueError that says what is allowed.
"""

import math
from enum import StrEnum

from msgspec import Struct

__all__ = [
    "Backoff",
    "Batched",
    "Concurrent",
    "Intensity",
    "MailboxLimits",
    "Mode",
    "OnCancel",
    "OnTaskCrash",
    "Restart",
    "Serial",
    "Strategy",
]


class Restart(StrEnum):
    """The restart type of a child: when it is started again after it has ended."""

    PERMANENT = "permanent"
    """The child is always restarted."""
    TRANSIENT = "transient"
    """The child is restarted only after a failure. If it finishes, it stays down and keeps its place."""
    TEMPORARY = "temporary"
    """The child is never restarted. It is removed after it has ended."""


class Strategy(StrEnum):
    """The siblings that are restarted with a child that failed: none with `ONE_FOR_ONE`, all with `ONE_FOR_ALL`."""

    ONE_FOR_ONE = "one_for_one"
    REST_FOR_ONE = "rest_for_one"
    """The siblings after the child in the list of children are restarted, since they may depend on it."""
    ONE_FOR_ALL = "one_for_all"


class OnCancel(StrEnum):
    """What to do with work in progress when its caller stops waiting or its actor is stopped."""

    CANCEL = "cancel"
    COMPLETE = "complete"
    """The work runs to completion. If the actor is stopped, the work is cancelled at the shutdown deadline."""


class OnTaskCrash(StrEnum):
    """What happens to an actor if a task that it started fails."""

    CRASH_ACTOR = "crash_actor"
    REPORT = "report"


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)


class Intensity(Struct, frozen=True):
    """The limit on restarts above which a supervisor gives up.

    Attributes:
        max_restarts: the maximum number of restarts in a period. With 0, the supervisor gives up at the first failure.
        period_s: the length of the sliding period, in seconds.
    """

    max_restarts: int = 5
    period_s: float = 30.0

    def __post_init__(self) -> None:
        _require(self.max_restarts >= 0, "max_restarts must be 0 or more")
        _require(0 < self.period_s < math.inf, "period_s must be above 0 and finite")


class Backoff(Struct, frozen=True):
    """The delay before a restart. It grows exponentially, with jitter, and is reset after the child was healthy.

    Attributes:
        initial_s: the delay before the first restart, in seconds.
        factor: the growth of the delay from one restart to the next.
        maximum_s: the maximum delay, in seconds.
        jitter: the share of the delay that is random, from 0 to 1. The random part only shortens the delay.
        healthy_after_s: the delay starts from `initial_s` again if the child stayed up for this time, in seconds.
    """

    initial_s: float = 0.05
    factor: float = 2.0
    maximum_s: float = 30.0
    jitter: float = 0.25
    healthy_after_s: float = 60.0

    def __post_init__(self) -> None:
        _require(0 <= self.initial_s <= self.maximum_s < math.inf, "need 0 <= initial_s <= maximum_s, finite")
        _require(1 <= self.factor < math.inf, "factor must be 1 or more and finite")
        _require(0 <= self.jitter <= 1, "jitter is a share between 0 and 1")
        _require(self.healthy_after_s >= 0, "healthy_after_s must be 0 or more")

    def delay_s(self, attempt: int, draw: float) -> float:
        """Return the delay before restart number `attempt` (from 0) in a row, in seconds.

        Args:
            attempt: the number of restarts since the child was last healthy.
            draw: a random number in [0, 1) from the caller. The same number gives the same delay.
        """
        try:
            full_s = min(self.maximum_s, self.initial_s * self.factor**attempt)
        except OverflowError:
            full_s = self.maximum_s
        return full_s * (1 - self.jitter * draw)


class MailboxLimits(Struct, frozen=True):
    """The limits of an actor's mailbox.

    Attributes:
        messages: the maximum number of messages that wait.
        bytes: the maximum total size of the messages that wait, by `Message.size_bytes`. A message that alone exceeds
            this limit is refused at once.
    """

    messages: int = 1024
    bytes: int = 64 << 20

    def __post_init__(self) -> None:
        _require(self.messages >= 1, "a mailbox holds at least one message")
        _require(self.bytes >= 0, "bytes must be 0 or more")


class Serial(Struct, frozen=True):
    """Handle one message at a time, in order of arrival among all serial and batched messages of the actor."""


class Concurrent(Struct, frozen=True):
    """Handle up to `limit` messages of this type concurrently with each other and with all other work of the actor.

    Attributes:
        limit: the maximum number of running handlers of this type. More messages wait, but do not delay other types.
    """

    limit: int

    def __post_init__(self) -> None:
        _require(self.limit >= 1, "a concurrent handler needs a limit of 1 or more")


class Batched(Struct, frozen=True):
    """Handle all consecutive queued messages of this type in one call, in their order among the serial messages.

    A single message is handled at once, without waiting for others.

    Attributes:
        max_messages: the maximum number of messages in a batch.
        max_bytes: the maximum total size of the messages in a batch. The first message may exceed it.
    """

    max_messages: int
    max_bytes: int

    def __post_init__(self) -> None:
        _require(self.max_messages >= 1, "a batch holds at least one message")
        _require(self.max_bytes >= 0, "max_bytes must be 0 or more")


type Mode = Serial | Concurrent | Batched
