"""Receives a part of an upload: at the pace of the client, in bounded memory, durable before it is acknowledged.

However the part ends, the state of the upload then says exactly what is there: all of the part, what has arrived of it,
or nothing of it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import Final

import trio
from msgspec.structs import replace

from artifactstore.environment import in_thread
from artifactstore.http.api.bodies import cut_problem
from artifactstore.http.api.problems import Problem
from artifactstore.http.api.upload_turns import Turn
from artifactstore.http.request_body import BodyCut, RequestBody
from artifactstore.upload_files import HeldUpload
from artifactstore_protocols.resumable_uploads import Checksum, Part, Upload
from artifactstore_protocols.storage import StorageError

__all__ = ["CHECKPOINT_BYTES", "CHECKSUM_MISMATCH", "WRITE_BYTES", "receive_part", "too_long"]

CHECKSUM_MISMATCH: Final = 460
"""The status of tus for a part that does not fit its checksum. HTTP has no name for it."""

WRITE_BYTES: Final = 1 << 20
"""So many bytes are written at once. A request holds no more of them in memory, and one piece."""

CHECKPOINT_BYTES: Final = 32 << 20
"""So many bytes are received before the offset is recorded. A crash loses no more, of a part without a checksum."""


def too_long() -> Problem:
    """Return the problem for bytes beyond the length of an upload, or beyond the limit."""
    detail = "The upload would be longer than its length or the limit; `OPTIONS /v1/uploads` shows `Tus-Max-Size`."
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "upload_too_long", detail)


async def receive_part(
    body: RequestBody,
    part: Part,
    held: HeldUpload | None,
    turn: Turn,
    checksum: Checksum | None,
    expires_at_us: int,
    look: Callable[[], Awaitable[None]],
) -> None:
    """Receive a part durably.

    Args:
        body: its bytes.
        part: what it may be.
        held: the upload; None to read the bytes of a repeated part without writing them.
        turn: the turn of the request.
        checksum: of all bytes of the part; None for none.
        expires_at_us: the time until which the upload is kept after this request.
        look: raises a `Problem` if the store has no room for more. It is called after each `CHECKPOINT_BYTES`.

    Raises:
        Problem: the part is too long, does not fit its checksum, did not arrive, or another request took over.
        StorageError: the bytes cannot be written.
    """
    writing = _Writing(held, part, checksum, expires_at_us)
    looked_at = 0
    keeps = False
    try:
        try:
            with turn.receiving:
                async with aclosing(body.pieces()) as pieces:
                    async for piece in pieces:
                        await writing.add(piece)
                        if writing.received - looked_at >= CHECKPOINT_BYTES:
                            looked_at = writing.received
                            await look()
            if turn.receiving.cancelled_caught:
                keeps = turn.keeps
                raise Problem(HTTPStatus.CONFLICT, "upload_continued", "Another request continues this upload.")
            await writing.finish()
        except BodyCut as cut:
            keeps = True
            raise cut_problem(cut) from cut
        except StorageError:
            writing.forget_unwritten()
            keeps = True
            raise
        except trio.Cancelled:  # the service stops
            keeps = True
            raise
    except BaseException:
        with trio.CancelScope(shield=True):
            await writing.leave(keeps=keeps and checksum is None)
        raise


class _Writing:
    """The bytes of a part on their way to the disk."""

    def __init__(self, held: HeldUpload | None, part: Part, checksum: Checksum | None, expires_at_us: int) -> None:
        self._held, self._part, self._checksum = held, part, checksum
        self._before = None if held is None else held.upload
        self._expires_at_us = expires_at_us
        self._buffer = bytearray()
        self._hasher = None if checksum is None else hashlib.new(checksum.algorithm, usedforsecurity=False)
        self._start = self._written = self._recorded = part.upload.last_offset if held is None else part.upload.offset

    @property
    def received(self) -> int:
        """The bytes of the part that have come."""
        return self._written - self._start + len(self._buffer)

    async def add(self, piece: bytes) -> None:
        if self.received + len(piece) > self._part.most:
            raise too_long()
        self._buffer += piece
        if len(self._buffer) >= WRITE_BYTES:
            await self._flush()
            if self._checksum is None and self._written - self._recorded >= CHECKPOINT_BYTES:
                await self._record(self._reached())

    async def finish(self) -> None:
        """Make the whole part durable, if it fits its checksum."""
        await self._flush()
        if self._checksum is not None and self._hasher is not None and self._hasher.digest() != self._checksum.digest:
            detail = f"The bytes do not have this {self._checksum.algorithm}, and are discarded; send them again."
            raise Problem(CHECKSUM_MISMATCH, "checksum_mismatch", detail)
        reached = self._reached()
        last_offset = self._start if self._written > self._start else reached.last_offset
        await self._record(replace(reached, last_offset=last_offset))

    async def leave(self, *, keeps: bool) -> None:
        """Make durable what has arrived, or forget all of the part."""
        if self._held is None or self._before is None:
            return
        if keeps:
            await self._flush()
            await self._record(self._reached())
        else:
            await self._record(self._before)

    def _reached(self) -> Upload:
        return replace(self._part.upload, offset=self._written, expires_at_us=self._expires_at_us)

    async def _flush(self) -> None:
        if self._buffer:
            await in_thread(self._take)

    def _take(self) -> None:
        if self._hasher is not None:
            self._hasher.update(self._buffer)
        if self._held is not None:
            self._held.write(self._buffer, self._written)
        self._written += len(self._buffer)
        self._buffer = bytearray()

    def forget_unwritten(self) -> None:
        """Forget the bytes that the device does not take."""
        self._buffer = bytearray()

    async def _record(self, upload: Upload) -> None:
        if self._held is not None:
            await in_thread(partial(self._held.record, upload))
            self._recorded = upload.offset
