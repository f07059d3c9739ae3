"""What all members of one tree share, and the little that a supervisor asks of each of its children."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from artifactstore.supervision.clock import Clock
from artifactstore.supervision.dead_letters import DeadLetters
from artifactstore.supervision.reports import Reporter
from artifactstore_protocols.supervision import (
    ActorSnapshot,
    ChildState,
    Failure,
    Message,
    Restart,
    Stall,
    SupervisorSnapshot,
)
from artifactstore_protocols.supervision.lifecycle import ExitKind

__all__ = ["Ending", "Member", "Runtime", "Status"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """Shared by every member of a tree.

    Attributes:
        seed: what all jitter is drawn from.
        clock: for the actors.
        dead_letters: of the whole tree.
        reporter: of the whole tree.
    """

    seed: int
    clock: Clock
    dead_letters: DeadLetters
    reporter: Reporter

    def draws(self, path: str) -> random.Random:
        """A source of draws for one child: the same for the same seed and path, whatever its siblings do."""
        return random.Random(f"{self.seed} {path}")  # noqa: S311 - jitter, not secrecy


@dataclass(frozen=True, slots=True)
class Ending:
    """How a member's run ended.

    Attributes:
        kind: FINISHED, or CRASHED with a failure.
        failure: what went wrong.
        messages: what was being handled.
        summary: the actor's own words about its state.
    """

    kind: ExitKind
    failure: Exception | None = None
    messages: tuple[Message[Any], ...] = ()
    summary: Mapping[str, str | int] | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What a supervisor knows about a member, for its snapshot."""

    state: ChildState
    restart: Restart
    starts: int
    ready_at: float | None
    last_failure: Failure | None
    stall: Stall | None


class Member(Protocol):
    """A child as its supervisor sees it: an actor's cell or another supervisor.

    Attributes:
        path: names from the root, joined by `/`.
    """

    path: str

    async def run(self, ready: Callable[[], None]) -> Ending:
        """Live once: call `ready` when started, return when ended."""
        ...

    def stop(self, *, drain: bool) -> None:
        """Make `run` return, after working off what is queued when `drain`."""
        ...

    def release(self, *, removed: bool) -> None:
        """Answer all that wait, since no restart is coming; let go of the outside world when `removed`."""
        ...

    def overdue(self) -> str | None:
        """The stack of a run that should have ended `stop_grace_s` after its order to stop."""
        ...

    def stop_grace_s(self) -> float | None:
        """How long a stop may take before it counts as stalled; None for no limit of its own."""
        ...

    def snapshot(self, status: Status) -> ActorSnapshot | SupervisorSnapshot:
        """What it is doing now."""
        ...
