"""Signals that ask a program to stop: SIGINT, SIGTERM and SIGHUP.

`raise_on_signals` is for what runs outside of trio: imports, the command line, waiting for a reader. `run` is for work
under trio that takes the signals one by one and stops in order. A SIGINT or SIGHUP that was ignored when the program
started stays ignored, as `nohup` and the background jobs of a shell mean it.
"""

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

    A `BaseException`, because it can strike anywhere, as `KeyboardInterrupt` does.

    Attributes:
        signal: the signal.
        advice: what the user can do now, if there is anything.
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
    """Raise `Interrupted` in the main thread when a signal asks the program to stop, from now on.

    Process 1 of a container needs this first of all: the kernel drops signals that such a process does not handle.
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
    """The signals that came during `run`, to be taken in order."""

    def __init__(self, *, orderly: int) -> None:
        self._orderly = orderly
        self._came: list[signal.Signals] = []
        self._taken = 0
        self._arrived: trio.Event | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    async def receive(self) -> signal.Signals:
        """Wait for the next signal."""
        import trio  # noqa: PLC0415 - only who runs work under trio pays for loading it

        while self._taken == len(self._came):
            self._arrived = trio.Event()
            if self._taken == len(self._came):  # a handler runs between any two steps
                await self._arrived.wait()
        self._taken += 1
        return self._came[self._taken - 1]

    def listen(self, token: "trio.lowlevel.TrioToken | None") -> None:
        """Wake `receive` in this run of trio from now on; in none without a token."""
        self._token = token

    def put(self, number: int, _frame: FrameType | None) -> None:
        """Take note of a signal, or end the process at once if this is one too many. It is the signal handler."""
        if self._came and number == signal.SIGHUP:
            return  # a terminal that closes sends two: its kernel's and its shell's
        if len(self._came) >= self._orderly:
            _end(number)
        self._came.append(signal.Signals(number))
        if self._token is not None:
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()


def run[T](work: Callable[[StopSignals], Awaitable[T]], *, orderly: int = 1) -> T:
    """Run `work` under trio, in the main thread, with the signals that come meanwhile.

    Args:
        work: takes the signals with `receive` and stops in order. It is not cancelled.
        orderly: so many signals wait for `work` to take them. One more ends the process at once, even if the event loop
            is stuck; what was committed by then is safe, as after any crash.
    """
    import trio  # noqa: PLC0415

    async def go() -> T:
        signals.listen(trio.lowlevel.current_trio_token())
        try:
            return await work(signals)
        finally:
            signals.listen(None)

    signals = StopSignals(orderly=orderly)
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
    """Install a handler. Returns what it replaced."""
    return [
        (number, signal.signal(number, handler))
        for number in _STOPS
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]


def _end(number: int) -> None:
    """End the process without cleaning up, as a crash would."""
    os._exit(_EXIT_BY_SIGNAL + number)
