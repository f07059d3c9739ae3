"""Results of a handler call for its envelopes: a reply, a refusal, a crash, or none because the handler was cut off.

After each of these, no caller of `ask` waits any longer. A message sent with `tell` has no caller. It becomes a dead
letter if it is refused or has crashed its actor `max_deliveries` times; otherwise it is queued again.
"""

from collections.abc import Sequence
from typing import cast

from artifactstore.supervision.envelope import Envelope, EnvelopeState, Work
from artifactstore.supervision.mailbox import Mailbox
from artifactstore_protocols.supervision import (
    ActorCrashed,
    ActorStopped,
    AskError,
    DeadLetterReason,
    Refusal,
)

__all__ = ["Answers"]


class Answers:
    """Settles the envelopes of handler calls for one actor."""

    def __init__(self, mailbox: Mailbox, max_deliveries: int) -> None:
        self._mailbox = mailbox
        self._max_deliveries = max_deliveries

    def give(self, work: Work, results: object) -> None:
        """Settle a batch with its results, one for each message; None stands for one None per message.

        Raises:
            TypeError: the number of results differs from the number of messages.
        """
        count = len(work.envelopes)
        replies = (None,) * count if results is None else tuple(cast("Sequence[object]", results))
        if len(replies) != count:
            raise TypeError(f"{work.handler.method} was given {count} messages and returned {len(replies)} replies")
        for envelope, reply in zip(work.envelopes, replies, strict=True):
            if isinstance(reply, Refusal):
                self.refuse((envelope,), reply)
            else:
                envelope.answer(reply)

    def refuse(self, envelopes: Sequence[Envelope], refusal: Refusal) -> None:
        """Settle envelopes with the refusal that their handler returned or raised."""
        if isinstance(refusal, AskError):
            # The error is about a message that this handler sent. For the handler's own callers, the handler has run.
            refusal.may_have_taken_effect = True
        for envelope in envelopes:
            if envelope.replied is None:
                self._mailbox.bury(envelope, DeadLetterReason.REFUSED, refusal)
            else:
                envelope.refuse(refusal)

    def crash(self, work: Work, failure: BaseException) -> None:
        """Record that the handler failed: refuse its callers, and bury messages that have crashed it too often."""
        for envelope in work.envelopes:
            envelope.crashes += 1
            if envelope.replied is not None:
                crashed = ActorCrashed(
                    self._mailbox.path, work.handler.message.__name__, may_have_taken_effect=True, cause=failure
                )
                crashed.__cause__ = failure
                envelope.refuse(crashed)
            elif envelope.crashes >= self._max_deliveries:
                self._mailbox.bury(envelope, DeadLetterReason.POISON, failure)

    def leave_none(self, work: Work) -> None:
        """Settle the envelopes that the ended handler left unsettled, or queue them again."""
        for envelope in reversed(work.envelopes):
            if envelope.state is not EnvelopeState.STARTED:
                continue
            if envelope.replied is None:
                self._mailbox.put_back(envelope)
            else:
                name = work.handler.message.__name__
                envelope.refuse(ActorStopped(self._mailbox.path, name, may_have_taken_effect=True))
