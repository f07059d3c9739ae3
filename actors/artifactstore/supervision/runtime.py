"""What all members of one tree share, and the little that a supervisor asks of each of its children."""

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
    """Shared by every member of a tree.

    Attributes:
        seed: what all jitter is drawn from.
        dead_letters: of the whole tree.
        reporter: of the whole tree.
        abort: what ends the whole tree, and then the block that it runs for, with an error of the host program.
        blocks: the last time each actor blocked the event loop, by path; kept by the watchdog.
    """

    seed: int
    dead_letters: DeadLetters
    reporter: Reporter
    abort: Callable[[BaseException], None]
    blocks: dict[str, Block] = field(default_factory=dict[str, Block])

    def draws(self, path: str) -> random.Random:
        """A source of draws for one child: the same for the same seed and path, whatever its siblings do."""
        return random.Random(f"{self.seed} {path}")  # noqa: S311 - jitter, not secrecy


class Ending(Struct, frozen=True):
    """How a member's run ended.

    Attributes:
        kind: FINISHED, or CRASHED with a failure.
        failure: what went wrong.
        messages: what was being handled.
        summary: the actor's own words about its state.
    """

    kind: ExitKind
    failure: BaseException | None = None
    messages: tuple[Message[Any], ...] = ()
    summary: Mapping[str, str | int] | None = None


class Status(Struct, frozen=True):
    """What a supervisor knows about a member, for its snapshot."""

    state: ChildState
    restart: Restart
    starts: int
    ready_at: float | None
    last_failure: Failure | None


class Member(Protocol):
    """A child as its supervisor sees it: an actor's cell or another supervisor.

    Attributes:
        path: names from the root, joined by `/`.
    """

    path: str

    async def run(self, nursery: trio.Nursery, ready: Callable[[], None]) -> Ending:
        """Live once: call `ready` when started, return when ended; `nursery` is for what watches over it."""
        ...

    def stop(self, *, drain: bool) -> None:
        """Make `run` return, after working off what is queued when `drain`."""
        ...

    def release(self, *, removed: bool) -> None:
        """Answer all that wait, since no restart is coming; let go of the outside world when `removed`."""
        ...

    def snapshot(self, status: Status) -> ActorSnapshot | SupervisorSnapshot:
        """What it is doing now."""
        ...
