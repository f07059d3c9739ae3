"""`open_tree`: a whole tree of actors as one async context manager.

The tree is shielded from the cancellation of its host. So however the block ends, the tree stops its children in
reverse order and within their shutdown timeouts. An error that concerns the host program, such as a KeyboardInterrupt
raised in a handler, stops the tree in the same order and is then raised from the block.
"""

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from artifactstore.supervision.dead_letters import DeadLetters
from artifactstore.supervision.reports import Report, Reporter
from artifactstore.supervision.runtime import Runtime
from artifactstore.supervision.specs import SupervisorSpec
from artifactstore.supervision.tree import Tree
from artifactstore.supervision.watchdog import watch_loop

__all__ = ["open_tree"]


@asynccontextmanager
async def open_tree(
    spec: SupervisorSpec,
    *,
    seed: int | None = None,
    on_report: Callable[[Report], None] | None = None,
    loop_blocked_after_s: float | None = None,
) -> AsyncGenerator[Tree]:
    """Start a tree, run the block once every child is ready, then stop the tree.

    Args:
        spec: the root.
        seed: seed of the jitter of restarts; the same seed gives the same delays. Random by default.
        on_report: called with every report, before it is logged. It runs in the tree's thread, except for
            `LoopBlocked`: the tree's thread is blocked then, so the watchdog's thread calls it.
        loop_blocked_after_s: real seconds without a response from the event loop before a watchdog thread reports it.
            None starts no watchdog.

    Raises:
        StartFailed: a child did not become ready. Children that had started were stopped in reverse order.
        SupervisorGaveUp: the root exceeded its intensity; the block was cancelled.
    """
    host = _Host(spec, seed, Reporter(on_report))
    error: BaseException | None = None
    async with AsyncExitStack() as stack:
        if loop_blocked_after_s is not None:
            await stack.enter_async_context(watch_loop(host.runtime, loop_blocked_after_s))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(host.run, name=spec.name)
        try:
            await host.up_or_over.wait()
            if not host.over.is_set():
                with host.block:
                    yield host.tree
        except BaseException as raised:
            error = raised  # raised again below, outside of the nursery, which would wrap it in a group
        host.stop()
        with trio.CancelScope(shield=True):
            await host.over.wait()
    try:
        if host.failure is not None:
            raise host.failure from host.failure.__cause__ or error  # "from None" would erase its cause
        if error is not None:
            raise error
    finally:
        del error


class _Host:
    """The task that runs the tree, and its state as the block of `open_tree` uses it."""

    def __init__(self, spec: SupervisorSpec, seed: int | None, reporter: Reporter) -> None:
        chosen = random.SystemRandom().getrandbits(64) if seed is None else seed
        self.runtime = Runtime(chosen, DeadLetters(), reporter, self._abort)
        self.tree = Tree(spec, self.runtime)
        self.block = trio.CancelScope()
        self.up_or_over = trio.Event()
        self.over = trio.Event()
        self.failure: BaseException | None = None
        self._running = False
        self._stopping = False

    async def run(self) -> None:
        try:
            if not self._stopping:
                self._running = True
                with trio.CancelScope(shield=True):
                    ending = await self.tree.run(self.up_or_over.set)
                    self.failure = self.failure or ending.failure
        finally:
            self.over.set()
            self.up_or_over.set()
            self.block.cancel(reason="the tree has ended")

    def stop(self) -> None:
        self._stopping = True
        if self._running:
            self.tree.stop()

    def _abort(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self.block.cancel(reason="the host program is to end")
        self.stop()
