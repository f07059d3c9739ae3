"""Extraction of the real failure when trio raises it together with cancellations.

A task whose own nursery fails while the task is being cancelled raises a group of `Cancelled` and the real error.
`except Exception` does not catch that group. So the code that runs an actor passes what it caught to `real_failure`.
"""

from typing import cast

import trio

__all__ = ["real_failure"]


def real_failure(error: BaseException) -> BaseException | None:
    """Return the error without its cancellations, unwrapped if one error remains; None if none does.

    The result is an Exception, unless the error concerns the host program: KeyboardInterrupt, SystemExit, or a group
    that holds one of them.
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
