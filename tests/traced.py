"""How much memory a piece of work takes at its peak."""

import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["traced"]


@contextmanager
def traced() -> Generator[Callable[[], int]]:
    """Trace what Python allocates; gives a function that tells the peak, in bytes beyond what was held at the start.

    It can stand inside another trace, such as the one that names leaks.
    """
    already = tracemalloc.is_tracing()
    if not already:
        tracemalloc.start()
    try:
        held, _peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield lambda: tracemalloc.get_traced_memory()[1] - held
    finally:
        if not already:
            tracemalloc.stop()
