"""The standard streams of a command: all that is written to stdout arrives, or the command fails.

`adopt` puts the streams below in the place of Python's own, which lose bytes on a full disk, on a non-blocking pipe or
with `PYTHONUNBUFFERED`, and which are not there at all where the caller has closed a descriptor. Loading this module
costs next to nothing, since `artifactstore version` uses it.
"""

import io
import os
import sys

from artifactstore.descriptors import write_all

TYPE_CHECKING = False  # as type checkers take it; loading `typing` would take longer than the rest
if TYPE_CHECKING:
    from collections.abc import Buffer
    from typing import override
else:

    def override[Method](method: Method) -> Method:
        return method


__all__ = ["Answer", "AnswerLost", "Messages", "adopt", "answer"]

_PIECE_BYTES = 1 << 16
_PATIENCE_MS = 1000


class AnswerLost(Exception):
    """A part of a command's answer did not get to stdout."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error

    @override
    def __str__(self) -> str:
        return f"cannot write the answer: {self.error.strerror or self.error}"


class _Stream(io.BufferedIOBase):
    """What both streams have in common, so that a text layer can be put on them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def name(self) -> int:
        """The descriptor, as a file that was opened by one is named."""
        return self._descriptor

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return self._descriptor

    @override
    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


class Answer(_Stream):
    """stdout. What is written waits in memory until it is flushed, or until there is much of it.

    While an event loop runs, nothing may wait for a reader but `drain`: `held` sees to that.
    """

    def __init__(self, descriptor: int, *, closed: bool) -> None:
        super().__init__(descriptor)
        self._pending = bytearray()
        self._held = False
        self._missing = closed

    def require(self) -> None:
        """Raise `AnswerLost` if the caller has closed stdout: then lines for people are dropped, and data is not."""
        if self._missing:
            import errno  # noqa: PLC0415 - hardly anybody needs it

            raise AnswerLost(OSError(errno.EBADF, "stdout is closed"))

    @override
    def write(self, data: "Buffer") -> int:
        """Take all of `data`."""
        size = memoryview(data).nbytes
        self._pending += data
        if len(self._pending) >= _PIECE_BYTES:
            self.flush()
        return size

    @override
    def flush(self) -> None:
        """Write what is pending, and wait for the reader; do nothing while an event loop runs."""
        if not self._held:
            self._deliver(self._taken())

    async def drain(self, *, least_bytes: int) -> None:
        """Write what is pending, if it is so much, and wait for the reader. Blocks no event loop; can be cancelled."""
        import trio  # noqa: PLC0415 - it is loaded by whoever calls this

        if len(self._pending) >= least_bytes and (pending := self._taken()):
            # A thread that is left behind never writes to another file: nobody closes stdout.
            await trio.to_thread.run_sync(self._deliver, pending, abandon_on_cancel=True)

    def discard(self) -> None:
        """Drop what is pending: the command was interrupted, and its reader may never take it."""
        self._pending.clear()

    def hold(self, *, held: bool) -> None:
        """Let `flush` do nothing from now on, or write again."""
        self._held = held

    def _taken(self) -> bytes:
        pending = bytes(self._pending)
        self._pending.clear()  # also if it cannot be written: nobody tries again as the interpreter ends
        return pending

    def _deliver(self, pending: bytes) -> None:
        try:
            write_all(self._descriptor, pending)
        except OSError as error:
            raise AnswerLost(error) from error


class Messages(_Stream):
    """stderr. Nothing that happens to it keeps the program from its work: what cannot be written is lost.

    A reader that takes nothing is waited for once, for a moment.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._patience_ms = _PATIENCE_MS

    @override
    def write(self, data: "Buffer") -> int:
        """Take all of `data`, whatever becomes of it."""
        import select  # noqa: PLC0415 - only who has something to say pays for it

        rest = memoryview(data)
        size = rest.nbytes
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while rest:
            if not poll.poll(self._patience_ms):
                self._patience_ms = 0
                break
            self._patience_ms = _PATIENCE_MS
            try:
                rest = rest[
                    os.write(self._descriptor, rest[: select.PIPE_BUF]) :
                ]  # so much a pipe that takes anything takes whole
            except BlockingIOError:
                continue
            except OSError:
                break
        return size


def adopt() -> None:
    """Put streams that write everything in the place of `sys.stdout` and `sys.stderr`; open what the caller closed.

    A descriptor that is closed would be that of the next file that is opened, the database for one.
    """
    missing = [descriptor for descriptor in (0, 1, 2) if not _is_open(descriptor)]
    for descriptor in missing:
        _open_nothing(descriptor)
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - it is, where the caller closed it
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    # UTF-8 whatever PYTHONIOENCODING says. A name that is not UTF-8 is no reason to fail.
    answer = Answer(1, closed=1 in missing)
    sys.stdout = io.TextIOWrapper(answer, encoding="utf-8", errors="backslashreplace", write_through=True)
    sys.stderr = io.TextIOWrapper(Messages(2), encoding="utf-8", errors="backslashreplace", write_through=True)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _open_nothing(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)


def answer() -> "Answer | None":
    """Return stdout if it is this module's; None where somebody else has put a stream there."""
    stream = getattr(sys.stdout, "buffer", None)
    return stream if isinstance(stream, Answer) else None
