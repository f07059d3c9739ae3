"""Signals that ask a program to stop: SIGINT, SIGTERM and SIGHUP.

`raise_on_signals` is for code outside of trio: imports, the command line, waiting for a reader. `run` is for work under
trio that receives the signals one by one and stops in order. A SIGINT or SIGHUP that was ignored when the program
started stays ignored, because `nohup` and shells set that for background jobs.
"""

import gc
import os
import signal
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

__all__ = ["Interrupted", "StopSignals", "raise_on_signals", "run"]

_EXIT_BY_SIGNAL = 128
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

type _Handler = Callable[[int, FrameType | None], object]


class Interrupted(BaseException):
    """A signal ended the program's work.

    It is a `BaseException`, because it can occur at any point, like `KeyboardInterrupt`.

    Attributes:
        signal: the signal.
        advice: what the user can do next; empty if there is no advice.
    """

    def __init__(self, number: int, advice: str = "") -> None:
        super().__init__(number, advice)
        self.signal = signal.Signals(number)
        self.advice = advice

    @property
    def exit_code(self) -> int:
        """The exit code that a shell reports: 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP."""
        return _EXIT_BY_SIGNAL + self.signal


def raise_on_signals() -> None:
    """Install handlers that raise `Interrupted` in the main thread when a signal asks the program to stop.

    A second signal other than SIGHUP ends the process at once. Process 1 of a container must call this first, because
    the kernel drops signals that such a process does not handle.
    """
    came = False

    def strike(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if came and number != signal.SIGHUP:
            _end(number)
        came = True
        raise Interrupted(number)

    _handle(strike)


class StopSignals:
    """The signals that arrive during `run`, in order."""

    def __init__(self, *, orderly: int) -> None:
        self._orderly = orderly
        self._came: list[signal.Signals] = []
        self._taken = 0
        self._arrived: trio.Event | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def receive(self) -> signal.Signals:
        """Wait for the next signal."""
        import trio  # noqa: PLC0415 - loading trio is slow, and only work under trio needs it

        while self._taken == len(self._came):
            self._arrived = trio.Event()
            if self._taken == len(self._came):  # a signal handler can run between any two steps
                await self._arrived.wait()
        self._taken += 1
        return self._came[self._taken - 1]

    def listen(self, token: "trio.lowlevel.TrioToken | None") -> None:
        """Wake `receive` in the trio run of this token from now on; with None, wake nothing."""
        self._token = token

    def put(self, number: int, _frame: FrameType | None) -> None:
        """Record a signal, or end the process at once if it exceeds the limit. This is the signal handler."""
        if self._came and number == signal.SIGHUP:
            return  # a closing terminal causes two: the kernel and the shell each send one
        if len(self._came) >= self._orderly:
            _end(number)
        self._came.append(signal.Signals(number))
        if self._token is not None:
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()


def run[T](work: Callable[[StopSignals], Awaitable[T]], *, orderly: int = 1) -> T:
    """Run `work` under trio in the main thread, and pass it the stop signals that arrive meanwhile.

    Args:
        work: receives the signals with `receive` and stops in order. It is not cancelled.
        orderly: number of signals that are queued for `work`. One more ends the process at once, even if the event loop
            is blocked. Committed data is safe then, as after any crash.
    """
    import trio  # noqa: PLC0415

    async def go() -> T:
        signals.listen(trio.lowlevel.current_trio_token())
        try:
            return await work(signals)
        finally:
            signals.listen(None)

    signals = StopSignals(orderly=orderly)
    gc.freeze()  # what was imported is no garbage
    gc.enable()  # the command line begins without
    with _handled(signals.put):
        return trio.run(go)


@contextmanager
def _handled(handler: _Handler) -> Generator[None]:
    before = _handle(handler)
    try:
        yield
    finally:
        for number, earlier in before:
            signal.signal(number, earlier)


def _handle(handler: _Handler) -> list[tuple[signal.Signals, "_Handler | int | None"]]:
    """Install a handler and return the handlers that it replaced."""
    return [
        (number, signal.signal(number, handler))
        for number in _STOPS
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]


def _end(number: int) -> None:
    """End the process without cleaning up, as a crash does."""
    os._exit(_EXIT_BY_SIGNAL + number)
