"""The standard streams of a command: either all output reaches stdout, or the command fails.

`adopt` replaces Python's own streams by those of this module. Python's streams lose bytes on a full disk, on a
non-blocking pipe or with `PYTHONUNBUFFERED`, and they are None if the caller closed the descriptor. This module must
load fast, since `artifactstore version` uses it.
"""

import io
import os
import sys

from artifactstore.descriptors import write_all

TYPE_CHECKING = False  # type checkers know this name; loading `typing` takes longer than the rest of the module
if TYPE_CHECKING:
    from collections.abc import Buffer
    from typing import override
else:

    def override[Method](method: Method) -> Method:
        return method


__all__ = ["Answer", "Messages", "OutputLost", "adopt", "answer"]

_PIECE_BYTES = 1 << 16
_PATIENCE_MS = 1000


class OutputLost(Exception):
    """Part of a command's output could not be written to stdout."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error

    @override
    def __str__(self) -> str:
        return f"cannot write the answer: {self.error.strerror or self.error}"


class _Stream(io.BufferedIOBase):
    """The common base of both streams: a writable binary stream that a text layer can wrap."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def name(self) -> int:
        """Return the descriptor, as Python does for a file that was opened by descriptor."""
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
    """The stdout stream. It keeps output in memory until `flush`, or until 64 KiB are pending.

    While an event loop runs, only `drain` may wait for the reader. Callers use `hold` to turn `flush` off.
    """

    def __init__(self, descriptor: int, *, closed: bool) -> None:
        super().__init__(descriptor)
        self._pending = bytearray()
        self._held = False
        self._missing = closed

    def require(self) -> None:
        """Raise `OutputLost` if the caller closed stdout: data must not be dropped, but text for people may be."""
        if self._missing:
            import errno  # noqa: PLC0415 - rarely needed

            raise OutputLost(OSError(errno.EBADF, "stdout is closed"))

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
        """Write the pending output, and wait for the reader; do nothing while held."""
        if not self._held:
            self._deliver(self._taken())

    async def drain(self, *, least_bytes: int) -> None:
        """Write the pending output in a thread if it has `least_bytes` or more. The caller can be cancelled."""
        import trio  # noqa: PLC0415 - the caller has loaded it

        if len(self._pending) >= least_bytes and (pending := self._taken()):
            # An abandoned thread cannot write to another file, since the program never closes stdout.
            await trio.to_thread.run_sync(self._deliver, pending, abandon_on_cancel=True)

    def discard(self) -> None:
        """Drop the pending output: the command was interrupted, and the reader may never read it."""
        self._pending.clear()

    def hold(self, *, held: bool) -> None:
        """Turn `flush` off if `held`, or on again."""
        self._held = held

    def _taken(self) -> bytes:
        pending = bytes(self._pending)
        self._pending.clear()  # even if writing fails, so that the interpreter does not try again at exit
        return pending

    def _deliver(self, pending: bytes) -> None:
        try:
            write_all(self._descriptor, pending)
        except OSError as error:
            raise OutputLost(error) from error


class Messages(_Stream):
    """The stderr stream. Its errors never stop the program: output that cannot be written is lost.

    A write waits up to one second for a reader that has stopped. Further writes wait only after the reader resumes.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._patience_ms = _PATIENCE_MS

    @override
    def write(self, data: "Buffer") -> int:
        """Write `data`, and return its size even if a part of it is lost."""
        import select  # noqa: PLC0415 - loaded only if there is output

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
                ]  # a pipe that is ready accepts PIPE_BUF bytes without blocking
            except BlockingIOError:
                continue
            except OSError:
                break
        return size


def adopt() -> None:
    """Replace `sys.stdout` and `sys.stderr`, and open standard descriptors that the caller closed on /dev/null.

    Otherwise the next opened file, such as the database, would get the number of a closed descriptor.
    """
    missing = [descriptor for descriptor in (0, 1, 2) if not _is_open(descriptor)]
    for descriptor in missing:
        _open_nothing(descriptor)
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - None if the caller closed it
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    # Always UTF-8, whatever PYTHONIOENCODING says. A name that is not UTF-8 must not raise an error.
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
    """Return stdout if `adopt` installed it; None if other code replaced it."""
    stream = getattr(sys.stdout, "buffer", None)
    return stream if isinstance(stream, Answer) else None
