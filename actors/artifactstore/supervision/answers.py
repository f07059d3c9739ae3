"""What becomes of the envelopes of one handler call: a reply, a refusal, a crash, or nothing because it was cut off.

After any of these no asker of the call waits any more. Messages that were told have no asker: they become dead letters
when they are refused or have crashed their actor too often, and are put back for another delivery otherwise.
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
    """Settles works for one actor."""

    def __init__(self, mailbox: Mailbox, max_deliveries: int) -> None:
        self._mailbox = mailbox
        self._max_deliveries = max_deliveries

    def give(self, work: Work, results: object) -> None:
        """Hand out a batch's results, one for each message; None stands for as many Nones.

        Raises:
            TypeError: the numbers differ.
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
        """The handler has answered with a refusal."""
        if isinstance(refusal, AskError):
            # It speaks of a message that this handler sent; to its own askers, the handler itself has run.
            refusal.may_have_taken_effect = True
        for envelope in envelopes:
            if envelope.replied is None:
                self._mailbox.bury(envelope, DeadLetterReason.REFUSED, refusal)
            else:
                envelope.refuse(refusal)

    def crash(self, work: Work, failure: BaseException) -> None:
        """The handler has failed."""
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
        """The handler is over, however it ended: settle what it has left unsettled."""
        for envelope in reversed(work.envelopes):
            if envelope.state is not EnvelopeState.STARTED:
                continue
            if envelope.replied is None:
                self._mailbox.put_back(envelope)
            else:
                name = work.handler.message.__name__
                envelope.refuse(ActorStopped(self._mailbox.path, name, may_have_taken_effect=True))
