"""Code of the caller's: read and told where the caller is, and what it raises goes to nobody else."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextvars import ContextVar

import pytest
import trio

from artifactstore.callbacks import with_progress, with_stream

_WHO = ContextVar("_WHO", default="nobody")


async def _chunks(*chunks: bytes) -> AsyncGenerator[bytes]:
    for chunk in chunks:
        yield chunk


async def _joined(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def test_a_stream_is_handed_over_whole() -> None:
    assert await with_stream(_chunks(b"a", b"", b"bc"), _joined) == b"abc"
    assert await with_stream(_chunks(), _joined) == b""


async def test_a_stream_that_failed_does_not_look_complete() -> None:
    """The reader is cancelled: it never sees an end that it could take for the end of the content."""
    ends: list[str] = []

    async def broken() -> AsyncGenerator[bytes]:
        yield b"half"
        raise ConnectionResetError

    async def use(stream: AsyncIterator[bytes]) -> None:
        try:
            await _joined(stream)
            ends.append("complete")
        except trio.Cancelled:
            ends.append("cancelled")
            raise

    with pytest.raises(ConnectionResetError):
        await with_stream(broken(), use)
    assert ends == ["cancelled"]


async def test_what_the_user_of_a_stream_raises_is_raised_without_a_group() -> None:
    failure = ValueError("refused")

    async def refuse(_stream: AsyncIterator[bytes]) -> None:
        raise failure

    with pytest.raises(ValueError, match="refused") as raised:
        await with_stream(_chunks(b"never read"), refuse)
    assert raised.value is failure


async def test_a_cancelled_user_of_a_stream_stays_cancelled() -> None:
    with trio.CancelScope() as scope:

        async def cancel(_stream: AsyncIterator[bytes]) -> None:
            scope.cancel()
            await trio.lowlevel.checkpoint()

        await with_stream(_chunks(b"x"), cancel)
    assert scope.cancelled_caught


async def test_no_callback_is_no_callback() -> None:
    async def use(tell: Callable[[int], None] | None) -> bool:
        return tell is None

    assert await with_progress(None, use)


async def test_a_callback_is_called_in_its_callers_context() -> None:
    seen: list[tuple[int, str]] = []
    _WHO.set("the caller")

    async def use(tell: Callable[[int], None] | None) -> str:
        assert tell is not None
        _WHO.set("the actor")
        tell(1)
        return "done"

    assert await with_progress(lambda counts: seen.append((counts, _WHO.get())), use) == "done"
    assert seen == [(1, "the caller")]


@pytest.mark.parametrize("continues", [True, False], ids=["continues", "notices"])
async def test_a_callback_that_fails_is_not_called_again_and_its_error_is_raised(continues: bool) -> None:
    """Even where the work came to its end before it could be withdrawn."""
    told: list[int] = []

    def fail(counts: int) -> None:
        told.append(counts)
        raise ValueError(counts)

    async def use(tell: Callable[[int], None] | None) -> str:
        assert tell is not None
        tell(1)
        tell(2)
        if not continues:
            await trio.lowlevel.checkpoint()
        return "done"

    with pytest.raises(ValueError, match="1"):
        await with_progress(fail, use)
    assert told == [1]
