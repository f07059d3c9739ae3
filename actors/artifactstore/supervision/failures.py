"""What really went wrong, when trio raises it together with cancellations.

A child whose own nursery fails while it is being cancelled raises a group of `Cancelled` and the real error, and
`except Exception` misses that group. Everything that runs an actor's code passes what it caught through here.
"""

from typing import cast

import trio

__all__ = ["real_failure"]


def real_failure(error: BaseException) -> Exception | None:
    """The error without its cancellations, unwrapped when only one is left; None when nothing else was in it.

    Raises:
        BaseException: `error` itself, when it carries something that is no ordinary failure, such as
            KeyboardInterrupt: that belongs to the host program.
    """
    if isinstance(error, trio.Cancelled):
        return None
    remaining: BaseException | None = error
    if isinstance(error, BaseExceptionGroup):
        remaining = cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)[1]
        if remaining is None:
            return None
    if not isinstance(remaining, Exception):
        raise error
    return _only(remaining)


def _only(failure: Exception) -> Exception:
    if not isinstance(failure, ExceptionGroup):
        return failure
    group = cast("ExceptionGroup[Exception]", failure)
    return _only(group.exceptions[0]) if len(group.exceptions) == 1 else group
