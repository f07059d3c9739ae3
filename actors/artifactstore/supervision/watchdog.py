"""The watchdog: a thread that reports a blocked event loop. Code inside the loop cannot notice that.

The thread repeatedly asks the loop for a sign of life. If none comes in time, it inspects the stack of the loop's
thread, finds the actor whose task is on that stack, stores both for the snapshot and reports them. It reports each
blockage once and ends nothing; the receiver of the report decides what to do.
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
    """Watch the event loop of the calling task while the block runs.

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
        """Make `run` return. Called in the loop's thread."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def run(self) -> None:
        """Probe the loop until stopped. This is the thread's main function."""
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
        """Return whether no sign of life comes within the limit.

        The limit is split into several waits. If the whole process was stopped, by SIGSTOP or a suspended machine, the
        current wait has expired when it continues, although the loop could not run. That costs only one of the waits.
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
    """Return the path of the actor whose code is on this stack; None if there is none.

    A frame of trio holds the task that it runs, or the one that it ran last. In the latter case, the task's own frame
    is not on the stack, so the task is ignored.
    """
    for frame in frames:
        task = frame.f_locals.get("task") if "task" in frame.f_code.co_varnames else None
        if isinstance(task, trio.lowlevel.Task) and getattr(task.coro, "cr_frame", None) in frames:
            return task.context.get(home)
    return None
