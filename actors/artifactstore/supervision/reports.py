"""What the runtime reports on its own: crashes, children that will not stop, and a loop that stands still.

A report goes to the callback that `open_tree` was given and to the standard logger of this package. The log names
types of messages and failures; what a failure says may quote a payload, and is for the listener alone.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from artifactstore_protocols.supervision import Message, Refusal, Stall

__all__ = ["CrashReport", "LoopBlocked", "Report", "Reporter", "StallReport"]

_logger = logging.getLogger("artifactstore.supervision")


class CrashReport(Struct, frozen=True):
    """A child failed.

    Attributes:
        path: the child; for a task of an actor, the actor's path and the task's name.
        incarnation: which of its starts this was.
        cause: the failure.
        messages: what was being handled; empty when the failure was outside a handler.
        summary: the actor's `state_summary`.
        decision: what the supervisor does about it.
        starting: whether the start of the supervisor fails with it.
        at: trio time.
    """

    path: str
    incarnation: int
    cause: BaseException
    messages: tuple[Message[Any], ...]
    summary: Mapping[str, str | int]
    decision: str
    starting: bool
    at: float

    @property
    def stack(self) -> str:
        """The failure with its traceback and causes."""
        return "".join(traceback.format_exception(self.cause))


class StallReport(Struct, frozen=True):
    """A child is still there although its time to stop has passed.

    Attributes:
        path: the child.
        stall: since when, and where its tasks stand.
    """

    path: str
    stall: Stall


class LoopBlocked(Struct, frozen=True):
    """The event loop has not run for a while: some code in it computes or blocks without awaiting.

    Attributes:
        path: the actor whose handler is running; None when it is not a handler.
        blocked_s: real seconds since the loop last answered.
        stack: where the loop's thread stands, innermost frame last.
    """

    path: str | None
    blocked_s: float
    stack: str


type Report = CrashReport | StallReport | LoopBlocked


class Reporter:
    """Sends reports to the log and to one listener."""

    def __init__(self, listener: Callable[[Report], None] | None) -> None:
        self._listener = listener

    def ready(self, path: str, starts: int) -> None:
        """Log that a child is up, for the first time or again."""
        level = logging.DEBUG if starts == 1 else logging.INFO
        _logger.log(level, "%s is up%s", path, "" if starts == 1 else f" again, start {starts}", extra={"actor": path})

    def send(self, report: Report) -> None:
        """Deliver one report. A listener that fails is logged, since nothing may stop a supervisor's work.

        The listener comes first: a loop that is blocked in a log write holds up everybody who logs.
        """
        failure: Exception | None = None
        if self._listener is not None:
            try:
                self._listener(report)
            except Exception as error:
                failure = error
        self._log(report)
        if failure is not None:
            _logger.error("the listener for reports failed on one about %s", report.path, exc_info=failure)

    def _log(self, report: Report) -> None:
        match report:
            case CrashReport(cause=Refusal() as refusal):
                # It says by itself what is wrong, and who asked for a start is told when that fails.
                level = logging.INFO if report.starting else logging.ERROR
                extra = {"actor": report.path}
                _logger.log(level, "%s: %s; %s", report.path, _own_words(refusal), report.decision, extra=extra)
            case CrashReport():
                _logger.error(
                    "%s crashed in incarnation %d on %s: %s; %s",
                    report.path,
                    report.incarnation,
                    ", ".join(sorted({type(message).__name__ for message in report.messages})) or "no message",
                    report.cause.__class__.__name__,
                    report.decision,
                    exc_info=report.cause,
                    extra={"actor": report.path},
                )
            case StallReport():
                _logger.error("%s does not stop\n%s", report.path, report.stall.stack, extra={"actor": report.path})
            case _:
                _logger.error(
                    "the event loop has been blocked for %.1f s by %s\n%s",
                    report.blocked_s,
                    report.path or "code outside the actors",
                    report.stack,
                    extra={"actor": report.path},
                )


def _own_words(refusal: Refusal) -> str:
    """What a refusal says, with a type in place of the cause that it quotes."""
    text, cause = str(refusal), getattr(refusal, "cause", None)
    if not isinstance(cause, BaseException):
        return text
    return text.replace(repr(cause), _own_words(cause) if isinstance(cause, Refusal) else type(cause).__name__)
