"""Reading what was written a moment ago, through whichever server: a read waits until the log has an event."""

from http import HTTPStatus
from typing import Final

import trio

from artifactstore.http.api.problems import Problem
from artifactstore_protocols.event_store import EventStore

__all__ = ["WAIT_MAX_S", "wait_for_sequence"]

WAIT_MAX_S: Final = 10.0


async def wait_for_sequence(store: EventStore, sequence: int) -> None:
    """Wait until the log has an event. The tables that reads use are written in the same transaction.

    Raises:
        Problem: the log has not reached it within `WAIT_MAX_S`.
    """
    with trio.move_on_after(WAIT_MAX_S):
        while await store.wait_for_growth(sequence - 1) < sequence:
            pass
        return
    detail = f"The log has not reached sequence {sequence} within {WAIT_MAX_S:g} s; ask again."
    raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "sequence_not_reached", detail)
