"""A thread that notices when the event loop stands still, which nothing inside the loop can.

It asks the loop for a sign of life, again and again; the loop gives one whenever it gets round to it. When none comes
in time, the thread looks at where the loop's thread is, finds the actor whose task is on that stack, notes both for the
snapshot and reports them. It reports each blockage once. It ends nothing: what follows is the listener's decision.
"""

import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import FrameType

import trio

from artifactstore.supervision.envelope import home
from artifactstore.supervision.reports import LoopBlocked
from artifactstore.supervision.runtime import Runtime
from artifactstore.supervision.stacks import frames_of_thread, stack_of_frame
from artifactstore_protocols.supervision import Block

__all__ = ["watch_loop"]

_PROBES_PER_LIMIT = 4
_WAITS_PER_LIMIT = 4


@asynccontextmanager
async def watch_loop(runtime: Runtime, blocked_after_s: float) -> AsyncGenerator[None]:
    """Watch the loop of the calling task while the block lasts.

    Raises:
        ValueError: `blocked_after_s` is not above 0.
    """
    if not blocked_after_s > 0:
        raise ValueError("loop_blocked_after_s must be above 0")
    watchdog = _Watchdog(runtime, blocked_after_s)
    thread = threading.Thread(target=watchdog.run, name="artifactstore watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watchdog.stop()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)


class _Watchdog:
    def __init__(self, runtime: Runtime, blocked_after_s: float) -> None:
        self._runtime = runtime
        self._limit_s = blocked_after_s
        self._token = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        self._condition = threading.Condition()
        self._alive = True
        self._stopped = False

    def stop(self) -> None:
        """Make `run` return, from the loop's thread."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def run(self) -> None:
        """The thread."""
        while not self._stopped:
            with self._condition:
                self._alive = False
            self._token.run_sync_soon(self._sign_of_life)
            if self._is_silent():
                self._report()
                self._wait(None)
            with self._condition:
                self._condition.wait_for(lambda: self._stopped, self._limit_s / _PROBES_PER_LIMIT)

    def _sign_of_life(self) -> None:
        with self._condition:
            self._alive = True
            self._condition.notify()

    def _is_silent(self) -> bool:
        """Whether no sign of life comes within the limit.

        It is waited for in parts. A process that was stopped as a whole, by SIGSTOP or with its machine, finds the time
        of the present wait used up when it continues, and its loop has had no chance: that costs one part of the limit.
        """
        return not any(self._wait(self._limit_s / _WAITS_PER_LIMIT) for _ in range(_WAITS_PER_LIMIT))

    def _wait(self, limit_s: float | None) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._alive or self._stopped, limit_s)

    def _report(self) -> None:
        frames = list(frames_of_thread(self._loop_thread))
        path = _actor_among(frames)
        stack = stack_of_frame(frames[0]) if frames else ""
        if path is not None:
            self._runtime.blocks[path] = Block(self._limit_s, stack)
        self._runtime.reporter.send(LoopBlocked(path, self._limit_s, stack))


def _actor_among(frames: Sequence[FrameType]) -> str | None:
    """The path of the actor whose code is on this stack.

    trio's own frame has the task that it runs, or ran last: then that one's frame is no part of the stack.
    """
    for frame in frames:
        task = frame.f_locals.get("task") if "task" in frame.f_code.co_varnames else None
        if isinstance(task, trio.lowlevel.Task) and getattr(task.coro, "cr_frame", None) in frames:
            return task.context.get(home)
    return None
