"""Reports of the runtime: crashes, children that do not stop in time, and a blocked event loop.

A report goes to the callback of `open_tree` and to the standard logger of this package. The log has the types of
messages and failures. The text of a failure may quote a payload, so only the callback gets it.
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
        path: path of the child; for a task of an actor, the actor's path and the task's name.
        incarnation: number of the start that failed.
        cause: the failure.
        messages: the messages that were being handled; empty if the failure was outside a handler.
        summary: the actor's `state_summary`.
        decision: what the supervisor does next.
        starting: whether this failure makes the start of the supervisor fail.
        at: trio time of the failure.
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
        """The failure as text, with its traceback and causes."""
        return "".join(traceback.format_exception(self.cause))


class StallReport(Struct, frozen=True):
    """A child is still running although its deadline to start or stop has passed.

    Attributes:
        path: path of the child.
        stall: the deadline, and the stacks of its tasks.
    """

    path: str
    stall: Stall


class LoopBlocked(Struct, frozen=True):
    """The event loop has not run for some time, because code in it computes or blocks without awaiting.

    Attributes:
        path: path of the actor whose code is running; None if it is other code.
        blocked_s: the limit in real seconds for which the loop did not respond.
        stack: stack of the loop's thread, innermost frame last.
    """

    path: str | None
    blocked_s: float
    stack: str


type Report = CrashReport | StallReport | LoopBlocked


class Reporter:
    """Sends reports to one callback and to the log."""

    def __init__(self, listener: Callable[[Report], None] | None) -> None:
        self._listener = listener

    def ready(self, path: str, starts: int) -> None:
        """Log that a child is running, for the first time or again."""
        level = logging.DEBUG if starts == 1 else logging.INFO
        _logger.log(level, "%s is up%s", path, "" if starts == 1 else f" again, start {starts}", extra={"actor": path})

    def send(self, report: Report) -> None:
        """Deliver one report. If the callback fails, that is logged, because no error may stop a supervisor's work.

        The callback runs first: if the loop is blocked in a log write, every other thread that logs blocks too.
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
                # Its text describes the problem, and the caller that started the tree gets the error of a failed start.
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
    """Return the text of a refusal, with the type of its cause in place of the cause's own text."""
    text, cause = str(refusal), getattr(refusal, "cause", None)
    if not isinstance(cause, BaseException):
        return text
    return text.replace(repr(cause), _own_words(cause) if isinstance(cause, Refusal) else type(cause).__name__)
