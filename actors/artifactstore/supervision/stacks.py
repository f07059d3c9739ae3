"""Current stacks as text: of a trio task with all tasks that it started, or of another thread."""

import sys
import traceback
from collections.abc import Iterator
from types import FrameType

import trio

__all__ = ["frames_of_thread", "stack_of_frame", "stack_of_task"]


def stack_of_task(task: trio.lowlevel.Task) -> str:
    """Return the await stacks of a task and of all tasks below it, each with the innermost frame last."""
    return "".join(_lines(task))


def _lines(task: trio.lowlevel.Task) -> Iterator[str]:
    yield f"task {task.name}\n"
    yield from traceback.StackSummary.extract(task.iter_await_frames()).format()
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda each: each.name):
            yield from _lines(child)


def frames_of_thread(ident: int) -> Iterator[FrameType]:
    """Yield the frames of a running thread, innermost first; nothing if the thread has ended."""
    # Despite its name, this is the documented function for the frames of another thread.
    frame = sys._current_frames().get(ident)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        yield frame
        frame = frame.f_back


def stack_of_frame(frame: FrameType) -> str:
    """Return the stack that ends in this frame, innermost frame last."""
    return "".join(traceback.format_stack(frame))
