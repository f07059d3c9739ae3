"""Which request of the outside world a task works for: a name that every message carries along, for logs to show.

A front door names what comes in (an HTTP request, a command); what nobody named is named when its first message goes.
The name travels in the envelope, so handlers, the messages that they send, and the threads that they use have it too.
"""

import itertools
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["current_request", "joint_name", "name_of_request", "request_named"]

current_request: ContextVar[str | None] = ContextVar("current_request", default=None)
"""The request of this task; None where it works for none."""

_numbers = itertools.count(1)


def name_of_request() -> str:
    """The request of this task, or a new name that this process has not used before."""
    return current_request.get() or f"r{next(_numbers)}"


def joint_name(names: Sequence[str]) -> str:
    """What a handler works for that takes several messages at once."""
    if len(names) == 1:
        return names[0]
    first, *others = dict.fromkeys(names)
    return f"{first} and {len(others)} more" if others else first


@contextmanager
def request_named(name: str | None = None) -> Generator[str]:
    """Let everything in the block belong to one request, of this name or a new one."""
    chosen = name or f"r{next(_numbers)}"
    token = current_request.set(chosen)
    try:
        yield chosen
    finally:
        current_request.reset(token)
