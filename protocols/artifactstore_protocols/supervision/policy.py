"""How actors are restarted, how their mailboxes are bounded and how their handlers run: plain values.

Nothing here acts. Invalid combinations cannot be made; each constructor raises ValueError with what would be right.
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
    """When a child that has ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After a failure only; a child that finished stays down and keeps its place."""
    TEMPORARY = "temporary"
    """Never; once it has ended its place is gone too."""


class Strategy(StrEnum):
    """Which siblings are restarted together with a child that failed."""

    ONE_FOR_ONE = "one_for_one"
    REST_FOR_ONE = "rest_for_one"
    """Those that come after it in the list of children, since they may depend on it."""
    ONE_FOR_ALL = "one_for_all"


class OnCancel(StrEnum):
    """What to do with work that has begun when its asker goes away or its actor is stopped."""

    CANCEL = "cancel"
    COMPLETE = "complete"
    """It runs to its end; when the actor is being stopped, until the shutdown deadline at the latest."""


class OnTaskCrash(StrEnum):
    """What the failure of a task that an actor started does to the actor."""

    CRASH_ACTOR = "crash_actor"
    REPORT = "report"


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)


class Intensity(Struct, frozen=True):
    """How many restarts a supervisor makes before it gives up.

    Attributes:
        max_restarts: restarts allowed in a period; 0 means that the first failure is one too many.
        period_s: length of the sliding period, in seconds.
    """

    max_restarts: int = 5
    period_s: float = 30.0

    def __post_init__(self) -> None:
        _require(self.max_restarts >= 0, "max_restarts must be 0 or more")
        _require(0 < self.period_s < math.inf, "period_s must be above 0 and finite")


class Backoff(Struct, frozen=True):
    """How long to wait before a restart: exponential, with jitter, forgotten after a healthy time.

    Attributes:
        initial_s: wait before the first restart.
        factor: growth from one restart to the next.
        maximum_s: the wait never exceeds this.
        jitter: the share of a wait, 0 to 1, that is left to chance; chance only shortens it.
        healthy_after_s: a child that stayed up this long starts again from `initial_s`.
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
        """Seconds to wait before restart number `attempt` (from 0) in a row.

        Args:
            attempt: restarts since the child was last healthy.
            draw: a number in [0, 1) that the caller drew; the same draw gives the same delay.
        """
        try:
            full_s = min(self.maximum_s, self.initial_s * self.factor**attempt)
        except OverflowError:
            full_s = self.maximum_s
        return full_s * (1 - self.jitter * draw)


class MailboxLimits(Struct, frozen=True):
    """How much may wait for an actor.

    Attributes:
        messages: most messages that wait.
        bytes: most bytes that wait, by `Message.size_bytes`; a message above it is refused at once.
    """

    messages: int = 1024
    bytes: int = 64 << 20

    def __post_init__(self) -> None:
        _require(self.messages >= 1, "a mailbox holds at least one message")
        _require(self.bytes >= 0, "bytes must be 0 or more")


class Serial(Struct, frozen=True):
    """One message at a time, in order of arrival, among all serial and batched messages of the actor."""


class Concurrent(Struct, frozen=True):
    """Up to `limit` messages of this type at a time, beside everything else that the actor does.

    Attributes:
        limit: most handlers of this type in flight; further messages wait without holding up other types.
    """

    limit: int

    def __post_init__(self) -> None:
        _require(self.limit >= 1, "a concurrent handler needs a limit of 1 or more")


class Batched(Struct, frozen=True):
    """All consecutive messages of this type that have queued up, in one call, in their place among the serial ones.

    A lone message never waits for company.

    Attributes:
        max_messages: most messages in a batch.
        max_bytes: most bytes in a batch; the first message is always taken.
    """

    max_messages: int
    max_bytes: int

    def __post_init__(self) -> None:
        _require(self.max_messages >= 1, "a batch holds at least one message")
        _require(self.max_bytes >= 0, "max_bytes must be 0 or more")


type Mode = Serial | Concurrent | Batched
