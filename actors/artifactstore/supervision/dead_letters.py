"""Messages that were told to an actor in vain: the latest few of them, and how many there were of each kind."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import trio

from artifactstore_protocols.supervision import DeadLetter, DeadLetterReason, Message

__all__ = ["DeadLetters"]

_KEPT = 256


class DeadLetters:
    """A bounded ring, the oldest letter making room for the newest."""

    def __init__(self) -> None:
        self._ring: deque[DeadLetter] = deque(maxlen=_KEPT)
        self._counts: Counter[DeadLetterReason] = Counter()

    def add(
        self,
        actor: str,
        message: Message[Any],
        reason: DeadLetterReason,
        deliveries: int,
        cause: BaseException | None,
    ) -> None:
        """Note one message."""
        self._ring.append(DeadLetter(actor, message, reason, deliveries, cause, trio.current_time()))
        self._counts[reason] += 1

    def latest(self) -> tuple[DeadLetter, ...]:
        """Those that are kept, oldest first."""
        return tuple(self._ring)

    def counts(self) -> Mapping[DeadLetterReason, int]:
        """How many there ever were, by reason; a reason without any is 0."""
        return {reason: self._counts[reason] for reason in DeadLetterReason}
