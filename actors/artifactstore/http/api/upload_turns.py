"""Turns: of the requests of this server that write into one upload, one at a time has its turn.

A client whose connection broke sends its next request before the service notices. So a new request does not wait for a
stalled one: it ends it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import trio

from artifactstore.http.api.problems import Problem
from artifactstore_protocols.resumable_uploads import ResumableLimits

__all__ = ["TURN_WAIT_S", "Turn", "Uploads", "upload_busy"]

TURN_WAIT_S: Final = 30.0
"""How long a request waits, in seconds, for one that puts its file into the package."""

_AGAIN_AFTER_S: Final = "5"


def upload_busy() -> Problem:
    """Return the problem for an upload that another request is writing."""
    detail = "Another request is writing this upload; ask again."
    return Problem(HTTPStatus.LOCKED, "upload_busy", detail, {"Retry-After": _AGAIN_AFTER_S})


class Turn:
    """The turn of one request.

    Attributes:
        offset: where the part begins that it receives; None if it receives none.
        receiving: the scope in which it receives. It is cancelled when another request takes over.
        keeps: whether the bytes that it has received by then are to be kept.
    """

    def __init__(self, offset: int | None) -> None:
        self.offset = offset
        self.receiving = trio.CancelScope()
        self.keeps = True
        self.over = trio.Event()

    def end(self, offset: int | None) -> None:
        """End it for a request that continues at an offset.

        If that is where this one began, the client does not know of the bytes in between, and they are not kept.
        """
        self.keeps = offset is None or offset != self.offset
        self.receiving.cancel(reason="a new request for this upload")


class Uploads:
    """The requests of this server that write into uploads.

    Args:
        limits: how much the uploads of one principal may hold.
    """

    def __init__(self, limits: ResumableLimits) -> None:
        self.limits = limits
        self._turns: dict[str, Turn] = {}

    @asynccontextmanager
    async def turn(self, upload_id: str, offset: int | None = None) -> AsyncGenerator[Turn]:
        """Take the turn for an upload, and end the one of another request.

        Args:
            upload_id: the upload.
            offset: where the part begins that the request sends; None if it sends none.

        Raises:
            Problem: the other one is putting the file into its package, and that takes long.
        """
        with trio.move_on_after(TURN_WAIT_S):
            while (other := self._turns.get(upload_id)) is not None:
                other.end(offset)
                await other.over.wait()
        if upload_id in self._turns:
            raise upload_busy()
        turn = self._turns[upload_id] = Turn(offset)
        try:
            yield turn
        finally:
            del self._turns[upload_id]
            turn.over.set()
