"""What really went wrong, when trio raises it together with cancellations.

A child whose own nursery fails while it is being cancelled raises a group of `Cancelled` and the real error, and
`except Exception` misses that group. Everything that runs an actor's code passes what it caught through here.
"""

from typing import cast

import trio

__all__ = ["real_failure"]


def real_failure(error: BaseException) -> BaseException | None:
    """The error without its cancellations, unwrapped when only one is left; None when nothing else was in it.

    What comes back is an Exception, except where the host program is meant: KeyboardInterrupt, SystemExit, or a group
    that holds one.
    """
    if not isinstance(error, BaseExceptionGroup):
        return None if isinstance(error, trio.Cancelled) else error
    group = cast("BaseExceptionGroup[BaseException]", error)
    rest = group.split(trio.Cancelled)[1]
    return None if rest is None else _only(rest)


def _only(failure: BaseException) -> BaseException:
    if not isinstance(failure, BaseExceptionGroup):
        return failure
    group = cast("BaseExceptionGroup[BaseException]", failure)
    return _only(group.exceptions[0]) if len(group.exceptions) == 1 else group
