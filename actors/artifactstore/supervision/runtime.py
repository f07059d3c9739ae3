"""Shared state of all members of one tree, and the interface of a supervisor's child."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import trio
from msgspec import Struct, field

from artifactstore.supervision.dead_letters import DeadLetters
from artifactstore.supervision.reports import Reporter
from artifactstore_protocols.supervision import (
    ActorSnapshot,
    Block,
    ChildState,
    Failure,
    Message,
    Restart,
    SupervisorSnapshot,
)
from artifactstore_protocols.supervision.lifecycle import ExitKind

__all__ = ["Ending", "Member", "Runtime", "Status"]


class Runtime(Struct, frozen=True):
    """State that all members of a tree share.

    Attributes:
        seed: the seed of all jitter.
        dead_letters: the dead letters of the whole tree.
        reporter: the reporter of the whole tree.
        abort: ends the whole tree and the block that it runs for, with an error that concerns the host program.
        blocks: the last time that each actor blocked the event loop, by path; the watchdog writes it.
    """

    seed: int
    dead_letters: DeadLetters
    reporter: Reporter
    abort: Callable[[BaseException], None]
    blocks: dict[str, Block] = field(default_factory=dict[str, Block])

    def draws(self, path: str) -> random.Random:
        """Return the random source of one child. It depends only on the seed and the path, not on siblings."""
        return random.Random(f"{self.seed} {path}")  # noqa: S311 - jitter, not secrecy


class Ending(Struct, frozen=True):
    """The end of one run of a member.

    Attributes:
        kind: FINISHED, or CRASHED with a failure.
        failure: the failure.
        messages: the messages that were being handled.
        summary: the actor's `state_summary`.
    """

    kind: ExitKind
    failure: BaseException | None = None
    messages: tuple[Message[Any], ...] = ()
    summary: Mapping[str, str | int] | None = None


class Status(Struct, frozen=True):
    """A supervisor's data about a member, for the member's snapshot."""

    state: ChildState
    restart: Restart
    starts: int
    ready_at: float | None
    last_failure: Failure | None


class Member(Protocol):
    """A supervisor's child: an actor's cell or another supervisor.

    Attributes:
        path: names from the root, joined by `/`.
    """

    path: str

    async def run(self, nursery: trio.Nursery, ready: Callable[[], None]) -> Ending:
        """Run once: call `ready` when started, return when ended. Tasks that watch the run use `nursery`."""
        ...

    def stop(self, *, drain: bool) -> None:
        """Make `run` return; with `drain`, after all queued messages are handled."""
        ...

    def release(self, *, removed: bool) -> None:
        """Refuse all waiting callers, because no restart follows. With `removed`, also detach the references."""
        ...

    def snapshot(self, status: Status) -> ActorSnapshot | SupervisorSnapshot:
        """Return the current state."""
        ...
