"""Messages sent with `tell` that were not handled: the latest ones, and counts by reason."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import trio

from artifactstore_protocols.supervision import DeadLetter, DeadLetterReason, Message

__all__ = ["DeadLetters"]

_KEPT = 256


class DeadLetters:
    """A bounded ring of the latest dead letters, with counts of all of them."""

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
        """Record one message."""
        self._ring.append(DeadLetter(actor, message, reason, deliveries, cause, trio.current_time()))
        self._counts[reason] += 1

    def latest(self) -> tuple[DeadLetter, ...]:
        """Return the kept dead letters, oldest first."""
        return tuple(self._ring)

    def counts(self) -> Mapping[DeadLetterReason, int]:
        """Return the number of dead letters so far by reason, including reasons with 0."""
        return {reason: self._counts[reason] for reason in DeadLetterReason}
