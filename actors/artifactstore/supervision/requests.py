"""Names of requests: every message carries the name of the request that it belongs to, so that logs can show it.

The HTTP server and the command line name each request or command. A message from a task without a name gets a new name.
The name travels in the envelope, so handlers, the messages that they send and the threads that they use have it too.
"""

import itertools
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["current_request", "joint_name", "name_of_request", "request_named"]

current_request: ContextVar[str | None] = ContextVar("current_request", default=None)
"""The name of this task's request; None if the task belongs to no request."""

_numbers = itertools.count(1)


def name_of_request() -> str:
    """Return the name of this task's request, or a new name that this process has not used before."""
    return current_request.get() or f"r{next(_numbers)}"


def joint_name(names: Sequence[str]) -> str:
    """Return the name of the requests of a handler call that takes several messages."""
    if len(names) == 1:
        return names[0]
    first, *others = dict.fromkeys(names)
    return f"{first} and {len(others)} more" if others else first


@contextmanager
def request_named(name: str | None = None) -> Generator[str]:
    """Set the request of all code in the block, to this name or a new one."""
    chosen = name or f"r{next(_numbers)}"
    token = current_request.set(chosen)
    try:
        yield chosen
    finally:
        current_request.reset(token)
